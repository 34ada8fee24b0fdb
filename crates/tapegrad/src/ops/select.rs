//! Choosing by condition, without letting a NaN of the branch not taken through.
//!
//! `select(c, a, b)` sends the cotangent to the branch taken and exact zeros to the other. Upstream of the other branch
//! those zeros meet partial derivatives that may be infinite or undefined (`sqrt` of a negative number), and `0·NaN` would
//! be NaN. So cotangents that left a `select` are *masked*: they are multiplied by `masked_mul`, in which zero wins.

use super::record::record_elementwise;
use crate::error::Issue;
use crate::ir::{Attrs, Elementwise, Kernel, OpDef, Rule, TensorType, Var, infer_elementwise, scalar_samples};
use crate::num::{Float, Formula, LaneFn, Lanes, Num, eval_lane, for_each_lane};

fn infer(operands: &[&TensorType], attrs: &Attrs) -> Result<TensorType, Issue> {
    infer_elementwise(operands, attrs)
}

fn select_scalar<T: Float>(c: T, a: T, b: T) -> T {
    if c != T::ZERO { a } else { b }
}

fn select_tile<T: Float>(out: &mut [T], operands: [&[T]; 3]) {
    for_each_lane(Select, out, operands);
}

#[derive(Clone, Copy)]
struct Select;

impl LaneFn for Select {
    #[inline(always)]
    fn eval<T: Float, const FMA: bool>(self, [c, a, b]: [Lanes<T, 1, FMA>; 3]) -> Lanes<T, 1, FMA> {
        c.pick(a, b)
    }
}

/// `a` where the condition is not zero, else `b`. No derivative flows to the condition.
pub static SELECT: OpDef = OpDef {
    name: "select",
    doc: "`a` where the condition is not zero, else `b`. No derivative flows to the condition, and the branch not taken has \
          no influence on values or gradients, not even as NaN; but within it the NaN of one factor of a product of matrices \
          reaches the gradient of the other.\n",
    args: &["condition", "a", "b"],
    variadic: false,
    onnx: Some("Where"),
    infer,
    rule: Rule::Custom {
        vjp: |args, which, ct| {
            let (c, zero) = (args.inputs[0], ct.lit(0.0));
            match which {
                0 => zero,
                1 => c.select(ct, zero),
                _ => c.select(zero, ct),
            }
        },
        jvp: |args, tangents| {
            let c = args.inputs[0];
            match (tangents[1], tangents[2]) {
                (None, None) => c.lit(0.0),
                (Some(a), None) => c.select(a, a.lit(0.0)),
                (None, Some(b)) => c.select(b.lit(0.0), b),
                (Some(a), Some(b)) => c.select(a, b),
            }
        },
    },
    masks: true,
    kernel: Kernel::Elementwise(&Elementwise {
        scalar_f32: select_scalar::<f32>,
        scalar_f64: select_scalar::<f64>,
        tile_f32: select_tile::<f32>,
        tile_f64: select_tile::<f64>,
        formula: || Formula::trace(3, |args| args[0].pick(args[1], args[2])),
        partials: &[|_, _| 0.0, |x, _| if x[0] != 0.0 { 1.0 } else { 0.0 }, |x, _| if x[0] != 0.0 { 0.0 } else { 1.0 }],
    }),
    samples: || scalar_samples(&[&[1.0, 2.0, 3.0], &[0.0, 2.0, 3.0]]),
};

#[derive(Clone, Copy)]
struct MaskedProduct;

impl LaneFn for MaskedProduct {
    #[inline(always)]
    fn eval<T: Float, const FMA: bool>(self, [a, b, _]: [Lanes<T, 1, FMA>; 3]) -> Lanes<T, 1, FMA> {
        masked_product(a, b)
    }
}

#[inline(always)]
fn masked_product<N: Num>(a: N, b: N) -> N {
    let zero = a.lit(0.0);
    (a.is_equal(zero) + b.is_equal(zero)).pick(zero, a * b)
}

fn masked_scalar<T: Float>(a: T, b: T, c: T) -> T {
    eval_lane(MaskedProduct, [a, b, c])
}

fn masked_tile<T: Float>(out: &mut [T], operands: [&[T]; 3]) {
    for_each_lane(MaskedProduct, out, operands);
}

/// Product in which zero wins: 0 where either factor is 0, even if the other is infinite or NaN.
pub static MASKED_MUL: OpDef = OpDef {
    name: "masked_mul",
    doc: "Product in which zero wins: 0 where either factor is 0, even if the other is infinite or NaN.\n",
    args: &["a", "b"],
    variadic: false,
    onnx: None,
    infer,
    rule: Rule::Partials(&[|inputs, _| inputs[1], |inputs, _| inputs[0]]),
    masks: true,
    kernel: Kernel::Elementwise(&Elementwise {
        scalar_f32: masked_scalar::<f32>,
        scalar_f64: masked_scalar::<f64>,
        tile_f32: masked_tile::<f32>,
        tile_f64: masked_tile::<f64>,
        formula: || Formula::trace(2, |args| masked_product(args[0], args[1])),
        partials: &[|x, _| x[1], |x, _| x[0]],
    }),
    samples: || scalar_samples(&[&[1.5, -2.0], &[0.5, 3.0]]),
};

impl Var {
    /// `a` where `self` is not zero, else `b`, element by element with broadcasting. No derivative flows to the
    /// condition, and the branch not taken has no influence on values or gradients, not even as NaN. One exception: within it, the
    /// NaN of one factor of a product of matrices reaches the gradient of the other factor, which is a sum of products that are
    /// not looked at one by one. Nor are those of a factor of a matrix (`cholesky`, `solve`) of which a part is taken.
    ///
    /// This is the branch that replays: an `if` on a recorded value is fixed when recorded (and guarded).
    #[doc(alias = "where")]
    #[must_use]
    #[track_caller]
    pub fn select(self, a: Var, b: Var) -> Var {
        record_elementwise(&SELECT, &[self, a, b])
    }

    /// Product in which zero wins: 0 where either factor is 0, even if the other is infinite or NaN.
    #[must_use]
    #[track_caller]
    pub fn masked_mul(self, other: Var) -> Var {
        record_elementwise(&MASKED_MUL, &[self, other])
    }
}

/// For each matrix of a stack whether it counts; nothing if all do.
#[derive(Clone, Copy)]
pub(super) struct Taken(Option<Var>);

impl Taken {
    /// The matrices that count or are finite, and zeros in place of the others. A cotangent may be 0 by chance and have derivatives
    /// nevertheless, so what is finite stays as it was computed. To be applied to what goes into a product of matrices too, where a NaN
    /// would reach the derivative of the other factor.
    #[track_caller]
    pub(super) fn keep(self, x: Var) -> Var {
        let Some(taken) = self.0 else { return x };
        let zero = x.lit(0.0);
        let not_finite = x.finite_or_zero().not_equal(x).sum_keep(&[-2, -1]);
        (taken + not_finite.equal(zero)).select(x, zero)
    }
}

impl crate::ir::RuleArgs<'_> {
    /// The matrices of a stack that have a derivative at all: where zeros win, those of which one of the stacks `of` cotangents or
    /// tangents has an element that is not 0. For rules that work on whole matrices, and would make NaN of a singular one.
    #[track_caller]
    pub(super) fn taken(&self, of: &[Var]) -> Taken {
        if !self.masked {
            return Taken(None);
        }
        let count = |v: &Var| v.not_equal(v.lit(0.0)).sum_keep(&[-2, -1]);
        Taken(of.iter().map(count).reduce(|a, b| a + b))
    }

    /// The product of a cotangent and a partial derivative; a zero of a masked cotangent wins.
    #[must_use]
    #[track_caller]
    pub fn times(&self, ct: Var, partial: Var) -> Var {
        if self.masked { ct.masked_mul(partial) } else { ct * partial }
    }
}
