//! What the code of long scalar programs is compiled from: instructions over places instead of values.

/// What an instruction of [`ScalarSource`] does with numbers at places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarOp {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`
    Div,
    /// `-a`
    Neg,
    /// `1 / a`
    Recip,
    /// `a * a`
    Square,
    /// The square root.
    Sqrt,
    /// The absolute value.
    Abs,
    /// 1 where `a < b`, else 0.
    Less,
    /// 1 where `a <= b`, else 0.
    LessEqual,
    /// 1 where `a == b`, else 0.
    Equal,
    /// `b` where `a` is not zero, else `c`.
    Select,
    /// `a`
    Copy,
    /// A call of a function of [`ScalarSource::functions`]; operands beyond `arity` are whatever they are.
    Call {
        /// Which.
        function: u16,
        /// How many operands it looks at, 1 to 3.
        arity: u8,
    },
}

/// A function that is no instruction.
#[derive(Clone, Copy, Debug)]
pub struct ScalarFunction<T> {
    /// The function.
    pub one: fn(T, T, T) -> T,
    /// The same, with the same bits, for many numbers at a time: called where the function is called several times in a row, on operands that do not
    /// depend on each other.
    pub many: Option<TileFunction<T>>,
    /// Another function that may be computed with this one, of one number, by its place in the list; and what computes both, with the same bits.
    pub twin: Option<(u16, PairFunction<T>)>,
}

/// Two functions of one number.
pub type PairFunction<T> = fn(T) -> (T, T);

/// `out[i] = f(a[i], b[i], c[i])`, all slices of one length.
pub type TileFunction<T> = fn(out: &mut [T], operands: [&[T]; 3]);

/// One instruction: places of the arena, in elements.
#[derive(Clone, Copy, Debug)]
pub struct ScalarInst {
    /// What it does.
    pub op: ScalarOp,
    /// Where the result goes; it may be one of the operands.
    pub dst: u32,
    /// `a`, `b` and `c`.
    pub args: [u32; 3],
}

// There are millions of them.
const _: () = assert!(size_of::<ScalarInst>() == 20);

impl ScalarInst {
    /// The places it reads.
    #[must_use]
    pub fn operands(&self) -> &[u32] {
        use ScalarOp::{Abs, Call, Copy, Neg, Recip, Select, Sqrt, Square};
        let count = match self.op {
            Neg | Recip | Square | Sqrt | Abs | Copy => 1,
            Select => 3,
            Call { arity, .. } => arity.clamp(1, 3).into(),
            _ => 2,
        };
        &self.args[..count]
    }
}

/// How much time code may take to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Little: what is made runs a few hundred times.
    Quick,
    /// Three to eight times as much, for code that runs up to three times as fast.
    Thorough,
}

/// Straight code over scalars, of any length.
#[derive(Clone, Copy, Debug)]
pub struct ScalarSource<'a, T> {
    /// Elements of the arena.
    pub arena: usize,
    /// Places from here on are temporary: what stands there in the end is nobody's concern.
    pub kept: usize,
    /// The instructions.
    pub code: &'a [ScalarInst],
    /// What they call.
    pub functions: &'a [ScalarFunction<T>],
}
