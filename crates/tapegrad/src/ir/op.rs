//! What an operation is: a `'static` description ([`OpDef`]), the same struct for ours and for a user's own.

use super::shape::Shape;
use super::tensor::{Indices, Tensor};
use super::var::Var;
use crate::error::{Issue, RecordError};
use crate::num::{Float, Formula};
use smallvec::SmallVec;
use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What the elements of a value are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// Real numbers; `f32` or `f64` is chosen when a program is compiled.
    Real,
    /// Row numbers, from inputs only; no arithmetic, no derivative.
    Index,
}

/// The type of a value: what its elements are and how they are arranged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// The dimensions.
    pub shape: Shape,
    /// What the elements are.
    pub dtype: DType,
}

impl TensorType {
    /// Real numbers of this shape.
    pub fn real(shape: impl Into<Shape>) -> Self {
        TensorType { shape: shape.into(), dtype: DType::Real }
    }

    /// Indices of this shape.
    pub fn index(shape: impl Into<Shape>) -> Self {
        TensorType { shape: shape.into(), dtype: DType::Index }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.dtype {
            DType::Real => write!(f, "{}", self.shape),
            DType::Index => write!(f, "index {}", self.shape),
        }
    }
}

/// The fixed arguments of a node: small, comparable, no closures.
#[derive(Clone, Debug, Default)]
pub enum Attrs {
    /// None.
    #[default]
    None,
    /// The value of a scalar constant.
    Scalar(f64),
    /// The value of a constant of higher rank.
    Tensor(Arc<Tensor>),
    /// Axes, in the order given (sorted for reductions), or a permutation.
    Axes(SmallVec<[usize; 4]>),
    /// A target shape.
    Shape(Shape),
    /// `start..stop` along one axis.
    Slice {
        /// The axis that is cut.
        axis: usize,
        /// First position taken.
        start: usize,
        /// One past the last position taken.
        stop: usize,
    },
    /// One axis, or a count.
    Int(usize),
    /// Which elements of a row-major value stand where in another.
    Strided(Arc<Strided>),
    /// What an operation carries that is none of these, as the step of a scan: shared, equal to itself alone.
    Own(Arc<dyn Own>),
}

/// What an operation may carry as [`Attrs::Own`]; listings show it by its `Display`.
pub trait Own: Any + fmt::Debug + fmt::Display + Send + Sync {}

impl<T: Any + fmt::Debug + fmt::Display + Send + Sync> Own for T {}

impl Attrs {
    /// What the operation carries, if it is of this type.
    #[must_use]
    pub fn own<T: Any>(&self) -> Option<&T> {
        let Attrs::Own(own) = self else { return None };
        let any: &dyn Any = &**own;
        any.downcast_ref()
    }
}

/// An affine arrangement: position $p$ stands for element `offset` $+ \sum_i p_i$ `strides`$_i$ of a row-major value of
/// shape `whole`. Negative strides run backwards, and several positions may stand for one element.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Strided {
    /// The shape of the value that elements are taken from.
    pub whole: Shape,
    /// The element at position 0.
    pub offset: usize,
    /// The dimensions of the arrangement.
    pub dims: SmallVec<[usize; 8]>,
    /// The distance between neighbours along each of them.
    pub strides: SmallVec<[isize; 8]>,
}

impl PartialEq for Attrs {
    /// Numbers are compared by their bits, so that 0 and −0 differ and NaN equals itself.
    fn eq(&self, other: &Self) -> bool {
        let bits = |t: &Tensor| t.data().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        match (self, other) {
            (Attrs::None, Attrs::None) => true,
            (Attrs::Scalar(a), Attrs::Scalar(b)) => a.to_bits() == b.to_bits(),
            (Attrs::Tensor(a), Attrs::Tensor(b)) => Arc::ptr_eq(a, b) || (a.shape() == b.shape() && bits(a) == bits(b)),
            (Attrs::Axes(a), Attrs::Axes(b)) => a == b,
            (Attrs::Shape(a), Attrs::Shape(b)) => a == b,
            (
                Attrs::Slice { axis, start, stop },
                Attrs::Slice { axis: other_axis, start: other_start, stop: other_stop },
            ) => (axis, start, stop) == (other_axis, other_start, other_stop),
            (Attrs::Int(a), Attrs::Int(b)) => a == b,
            (Attrs::Strided(a), Attrs::Strided(b)) => a == b,
            (Attrs::Own(a), Attrs::Own(b)) => address(a) == address(b),
            _ => false,
        }
    }
}

impl Eq for Attrs {}

/// Where it is, whatever is known of its type.
fn address(own: &Arc<dyn Own>) -> *const () {
    Arc::as_ptr(own).cast()
}

impl Hash for Attrs {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Attrs::None => {}
            Attrs::Scalar(x) => x.to_bits().hash(state),
            Attrs::Tensor(t) => {
                t.shape().hash(state);
                t.data().iter().for_each(|x| x.to_bits().hash(state));
            }
            Attrs::Axes(axes) => axes.hash(state),
            Attrs::Shape(shape) => shape.hash(state),
            Attrs::Slice { axis, start, stop } => (axis, start, stop).hash(state),
            Attrs::Int(n) => n.hash(state),
            Attrs::Strided(strided) => strided.hash(state),
            Attrs::Own(own) => address(own).hash(state),
        }
    }
}

impl fmt::Display for Attrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attrs::None => Ok(()),
            Attrs::Scalar(x) => write!(f, "{x}"),
            Attrs::Tensor(t) if t.data().len() <= 8 => write!(f, "{t}"),
            Attrs::Tensor(t) => write!(f, "<{} numbers>", t.data().len()),
            Attrs::Axes(axes) => write!(f, "{:?}", axes.as_slice()),
            Attrs::Shape(shape) => write!(f, "{shape}"),
            Attrs::Slice { axis, start, stop } => write!(f, "axis {axis}, {start}..{stop}"),
            Attrs::Int(n) => write!(f, "{n}"),
            Attrs::Strided(s) => {
                write!(f, "{:?} by {:?} from {} of {}", s.dims.as_slice(), s.strides.as_slice(), s.offset, s.whole)
            }
            Attrs::Own(own) => write!(f, "{own}"),
        }
    }
}

/// What a derivative rule sees of the node it differentiates.
pub struct RuleArgs<'a> {
    /// The operands.
    pub inputs: &'a [Var],
    /// The node's own value.
    pub output: Var,
    /// The node's fixed arguments.
    pub attrs: &'a Attrs,
    /// Whether a zero in the cotangent, or in a tangent, means "not taken"; products with it are then to be
    /// made by [`RuleArgs::times`].
    pub masked: bool,
}

/// Records the cotangent of input `which`, given the cotangent `ct` of the output.
pub type Vjp = fn(args: &RuleArgs<'_>, which: usize, ct: Var) -> Var;
/// Records the tangent of the output, given the tangents of the inputs (`None` is zero); at least one is given.
pub type Jvp = fn(args: &RuleArgs<'_>, tangents: &[Option<Var>]) -> Var;
/// Records ∂output/∂input for one input of an elementwise operation.
pub type Partial = fn(inputs: &[Var], output: Var) -> Var;

/// How an operation is differentiated: the least that is true of it. Rules record onto the tape with the operations
/// that users have, so every derivative has derivatives.
pub enum Rule {
    /// No derivative flows.
    Zero,
    /// Elementwise: one formula per input; both modes follow.
    Partials(&'static [Partial]),
    /// Linear in all inputs jointly: the tangent is the operation itself; only the transpose is written.
    Linear(Vjp),
    /// Linear in each input with the others fixed, as a product: likewise.
    Multilinear(Vjp),
    /// Both modes written out.
    Custom {
        /// Reverse mode.
        vjp: Vjp,
        /// Forward mode.
        jvp: Jvp,
    },
    /// As `Custom`, of an operation that may turn out to have no derivative. The error is that of [`Tape::try_grad`](super::Tape::try_grad)
    /// and its like, which names the line that asked for the derivative, and the operation.
    Fallible {
        /// Reverse mode, as [`Vjp`].
        vjp: fn(args: &RuleArgs<'_>, which: usize, ct: Var) -> Result<Var, RecordError>,
        /// Forward mode, as [`Jvp`].
        jvp: fn(args: &RuleArgs<'_>, tangents: &[Option<Var>]) -> Result<Var, RecordError>,
    },
}

/// A function of up to three numbers (a node's scalar attribute follows its inputs as one more number); those beyond the operation's arity are ignored.
pub type ScalarFn<T> = fn(T, T, T) -> T;
/// `out[i] = f(a[i], b[i], c[i])`; all slices have one length, and operands beyond the operation's arity are not read.
pub type TileFn<T> = fn(out: &mut [T], operands: [&[T]; 3]);

/// The readings of an elementwise formula.
pub struct Elementwise {
    /// As a function of `f32`.
    pub scalar_f32: ScalarFn<f32>,
    /// As a function of `f64`.
    pub scalar_f64: ScalarFn<f64>,
    /// As a loop over `f32`.
    pub tile_f32: TileFn<f32>,
    /// As a loop over `f64`.
    pub tile_f64: TileFn<f64>,
    /// As primitives.
    pub formula: fn() -> Formula,
    /// The partial derivatives as functions of the inputs and the output, in `f64`, one for each input (and one more for a scalar attribute
    /// that the kernel is handed, which then follows the inputs): what [`Dual`](crate::Dual) and
    /// [`Tape::value_and_grad`](super::Tape::value_and_grad) compute with, and an oracle independent of the graph. Empty where the rule is
    /// not meant to be these, as one that lets a gradient pass straight through.
    pub partials: &'static [fn(inputs: &[f64], output: f64) -> f64],
}

/// One input of a [`CustomKernel`].
#[derive(Clone, Copy, Debug)]
pub enum Operand<'a, T> {
    /// Real numbers, row-major.
    Real(&'a [T], &'a Shape),
    /// Indices, row-major.
    Index(&'a [u32], &'a Shape),
}

/// Computes one node of at most 8 inputs: all inputs row-major, the output to be filled row-major. Must not allocate if replay is to be free
/// of allocation.
pub type CustomFn<T> = fn(inputs: &[Operand<'_, T>], attrs: &Attrs, out: &mut [T]);

/// The computation of an operation that is none of the engine's own kinds.
#[derive(Clone, Copy)]
pub struct CustomKernel {
    /// In `f32`.
    pub f32: CustomFn<f32>,
    /// In `f64`.
    pub f64: CustomFn<f64>,
}

/// How an operation is computed.
pub enum Kernel {
    /// Not computed: an input, a parameter or a constant.
    Leaf,
    /// Each element of the output from the same element of each input.
    Elementwise(&'static Elementwise),
    /// Matrix product over the last two axes.
    MatMul,
    /// Sum over axes.
    Sum,
    /// Largest element over axes.
    Max,
    /// Axes in another order.
    Permute,
    /// Same elements, other dimensions.
    Reshape,
    /// Repeated along axes of size 1 and new leading axes.
    Broadcast,
    /// A range of one axis.
    Slice,
    /// Values side by side along an axis.
    Concat,
    /// Rows picked by index.
    Gather,
    /// Rows added up by index.
    ScatterAdd,
    /// A user's own.
    Custom(CustomKernel),
    /// A user's own that picks by its second operand, which is indices: each is checked, when it is set, to be `below` what
    /// follows from the types of the operands.
    Indexed {
        /// The computation.
        kernel: CustomKernel,
        /// What every index must be below.
        below: fn(&[&TensorType], &Attrs) -> usize,
    },
}

impl Kernel {
    /// The computation of an operation that is none of the engine's own kinds.
    #[must_use]
    pub fn custom(&self) -> Option<&CustomKernel> {
        match self {
            Kernel::Custom(kernel) | Kernel::Indexed { kernel, .. } => Some(kernel),
            _ => None,
        }
    }
}

/// One example of an operation at work, for tests that derive from the declaration.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The operands.
    pub inputs: Vec<LeafValue>,
    /// The fixed arguments.
    pub attrs: Attrs,
}

/// The value of a leaf.
#[derive(Clone, Debug)]
pub enum LeafValue {
    /// Real numbers.
    Real(Tensor),
    /// Indices.
    Index(Indices),
}

impl LeafValue {
    /// The type of this value.
    #[must_use]
    pub fn ty(&self) -> TensorType {
        match self {
            LeafValue::Real(t) => TensorType::real(t.shape()),
            LeafValue::Index(i) => TensorType::index(i.shape()),
        }
    }
}

/// The description of one operation.
pub struct OpDef {
    /// The name: `f64`'s method name where there is one, else NumPy's or ONNX's.
    pub name: &'static str,
    /// What it computes, in Markdown; the first line is the summary.
    pub doc: &'static str,
    /// The operands' names, as used in errors; the last stands for any number where `variadic`.
    pub args: &'static [&'static str],
    /// Whether the last operand may be repeated.
    pub variadic: bool,
    /// The ONNX operator it corresponds to, if any.
    pub onnx: Option<&'static str>,
    /// The type of the result, or what is wrong with the operands.
    pub infer: fn(&[&TensorType], &Attrs) -> Result<TensorType, Issue>,
    /// How it is differentiated.
    pub rule: Rule,
    /// Whether a zero cotangent leaving this operation means "not taken": it then wins against infinite or undefined
    /// partial derivatives upstream (`select`). In forward mode likewise a zero tangent wins downstream.
    pub masks: bool,
    /// How it is computed.
    pub kernel: Kernel,
    /// Examples from which tests are derived.
    pub samples: fn() -> Vec<Sample>,
}

impl OpDef {
    /// The scalar function for `T`, if the operation is elementwise.
    #[must_use]
    pub fn elementwise(&self) -> Option<&'static Elementwise> {
        match self.kernel {
            Kernel::Elementwise(e) => Some(e),
            _ => None,
        }
    }

    /// What each index of the second operand must be below, if the operation picks by it.
    #[must_use]
    pub fn rows_below(&self, operands: &[&TensorType], attrs: &Attrs) -> Option<usize> {
        match (&self.kernel, attrs) {
            (Kernel::Gather, _) => Some(operands[0].shape.dims()[0]),
            (Kernel::ScatterAdd, &Attrs::Int(rows)) => Some(rows),
            (Kernel::Indexed { below, .. }, _) => Some(below(operands, attrs)),
            _ => None,
        }
    }

    /// Whether this is `other`.
    #[must_use]
    pub fn is(&self, other: &OpDef) -> bool {
        std::ptr::eq(self, other)
    }
}

impl fmt::Debug for OpDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Samples of an elementwise operation from its declared rows of scalars.
#[must_use]
pub fn scalar_samples(rows: &[&[f64]]) -> Vec<Sample> {
    let sample = |row: &&[f64]| Sample {
        inputs: row.iter().map(|&x| LeafValue::Real(Tensor::from(x))).collect(),
        attrs: Attrs::None,
    };
    rows.iter().map(sample).collect()
}

/// The type rule of elementwise operations: all operands real and of one shape (recording broadcasts them first).
///
/// # Errors
/// If operands differ in shape or are indices.
pub fn infer_elementwise(operands: &[&TensorType], _: &Attrs) -> Result<TensorType, Issue> {
    for operand in operands {
        if operand.dtype != DType::Real {
            return Err(Issue::new(crate::error::RecordErrorKind::Type, "indices have no arithmetic")
                .help("use them with `gather`, or record the numbers as an input"));
        }
        if operand.shape != operands[0].shape {
            return Err(Issue::shape(format!("shapes {} and {} differ", operands[0].shape, operand.shape)));
        }
    }
    Ok(operands[0].clone())
}

/// An element type of replay together with the readings of operations that belong to it: `f32` or `f64`.
pub trait Reading: Float + tapegrad_jit::Number {
    /// The scalar reading.
    fn scalar(e: &Elementwise) -> ScalarFn<Self>;
    /// The loop reading.
    fn tile(e: &Elementwise) -> TileFn<Self>;
    /// The custom kernel.
    fn custom(k: &CustomKernel) -> CustomFn<Self>;
}

impl Reading for f32 {
    fn scalar(e: &Elementwise) -> ScalarFn<f32> {
        e.scalar_f32
    }
    fn tile(e: &Elementwise) -> TileFn<f32> {
        e.tile_f32
    }
    fn custom(k: &CustomKernel) -> CustomFn<f32> {
        k.f32
    }
}

impl Reading for f64 {
    fn scalar(e: &Elementwise) -> ScalarFn<f64> {
        e.scalar_f64
    }
    fn tile(e: &Elementwise) -> TileFn<f64> {
        e.tile_f64
    }
    fn custom(k: &CustomKernel) -> CustomFn<f64> {
        k.f64
    }
}
