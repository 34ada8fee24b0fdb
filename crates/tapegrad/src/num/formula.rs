//! The formula reading: a formula as a short list of primitive instructions.
//!
//! A back end that emits machine code need only know the primitives ([`Prim`]); every operation, also a user's own,
//! arrives as a [`Formula`] over them, and [`Formula::lowered`] leaves few of those that are not instructions of a CPU.
//!
//! ```
//! use tapegrad::num::Formula;
//! use tapegrad::Real;
//! let formula = Formula::trace(1, |args| args[0].sigmoid());
//! assert_eq!(formula.eval(&[0.0]), 0.5);
//! ```

use super::elementary::Machine;
use super::float::{Float, Num, functions};
use super::lanes::{LaneFn, Lanes, eval_lane};
use super::special;
use std::cell::RefCell;
use std::fmt;
use std::ops::{Add, Div, Mul, Neg, Sub};

macro_rules! prims {
    (
        unary: [$($f:ident),*], guarded: [$($u:ident),*], elementary: [$($e:ident),*], logistic: [$($l:ident),*], binary: [$($g:ident),*], guarded_of_two: [$($v:ident),*],
        special: [$($s:ident),*], special_of_two: [$($t:ident),*]
    ) => {
        /// The primitives: what a back end must be able to compute. Those from `mul_add` to `significand` stand only in
        /// lowered formulas ([`Formula::lowered`]), which have none of `exp` to `softplus`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(non_camel_case_types)]
        pub enum Prim {
            /// `a + b`
            add,
            /// `a - b`
            sub,
            /// `a * b`
            mul,
            /// `a / b`
            div,
            /// `-a`
            neg,
            /// 1 where `a < b`, else 0
            is_less,
            /// 1 where `a <= b`, else 0
            is_less_equal,
            /// 1 where `a == b`, else 0
            is_equal,
            /// `b` where `a` is not zero, else `c`
            pick,
            /// `a` to the whole power `b`
            powi,
            /// `a * b + c`, rounded once where the CPU can
            mul_add,
            /// `b` where `b > a`, else `a`
            at_least,
            /// `b` where `b < a`, else `a`
            at_most,
            /// `b` where the sign bit of `a` is set, else `c`; for NaN, either
            pick_negative,
            /// [`Float::add_exponent`]
            add_exponent,
            /// `(a + b) * 2^c` for whole `c` and moderate sums, see [`Float::halved_power_of_two`]: the sum is rounded, and a subnormal result
            /// once more
            ldexp_sum,
            /// [`Float::exponent`]
            exponent,
            /// [`Float::significand`]
            significand,
            $(#[doc = concat!("`a.", stringify!($e), "()`")] $e,)*
            $(#[doc = concat!("`a.", stringify!($l), "()`")] $l,)*
            $(#[doc = concat!("`a.", stringify!($f), "()`")] $f,)*
            $(#[doc = concat!("`a.", stringify!($u), "()`")] $u,)*
            $(#[doc = concat!("`a.", stringify!($g), "(b)`")] $g,)*
            $(#[doc = concat!("`a.", stringify!($v), "(b)`")] $v,)*
            $(#[doc = concat!("`a.", stringify!($s), "()`, a call")] $s,)*
            $(#[doc = concat!("`a.", stringify!($t), "(b)`, a call")] $t,)*
        }

        impl Prim {
            /// Number of operands.
            #[must_use]
            pub fn arity(self) -> usize {
                match self {
                    Prim::neg | Prim::exponent | Prim::significand $(| Prim::$e)* $(| Prim::$l)* $(| Prim::$f)* $(| Prim::$u)* $(| Prim::$s)* => 1,
                    Prim::pick | Prim::pick_negative | Prim::mul_add | Prim::ldexp_sum => 3,
                    _ => 2,
                }
            }
        }

        impl LaneFn for Prim {
            #[inline(always)]
            fn eval<T: Float, const FMA: bool>(self, [a, b, c]: [Lanes<T, 1, FMA>; 3]) -> Lanes<T, 1, FMA> {
                match self {
                    Prim::add => a + b,
                    Prim::sub => a - b,
                    Prim::mul => a * b,
                    Prim::div => a / b,
                    Prim::neg => -a,
                    Prim::is_less => a.is_less(b),
                    Prim::is_less_equal => a.is_less_equal(b),
                    Prim::is_equal => a.is_equal(b),
                    Prim::pick => a.pick(b, c),
                    #[allow(clippy::cast_possible_truncation)] // `b` is a whole number made from an `i32`
                    Prim::powi => a.powi(b.0[0].to_f64() as i32),
                    Prim::mul_add => a.mul_add(b, c),
                    Prim::at_least => a.at_least(b),
                    Prim::at_most => a.at_most(b),
                    Prim::pick_negative => a.pick_negative(b, c),
                    Prim::add_exponent => a.add_exponent(b),
                    Prim::ldexp_sum => a.ldexp_sum(b, c),
                    Prim::exponent => a.exponent(),
                    Prim::significand => a.significand(),
                    $(Prim::$e => a.$e(),)*
                    $(Prim::$l => a.$l(),)*
                    $(Prim::$f => a.$f(),)*
                    $(Prim::$u => a.$u(),)*
                    $(Prim::$g => a.$g(b),)*
                    $(Prim::$v => a.$v(b),)*
                    $(Prim::$s => a.$s(),)*
                    $(Prim::$t => a.$t(b),)*
                }
            }
        }

        impl Traced {
            prims!(@unary $($e)* $($l)* $($f)* $($u)* $($s)*);
            prims!(@binary $($g)* $($v)* $($t)*);
        }

        /// The functions that machine code for numbers of type `T` calls, in order of their numbers. Those of one operand ignore
        /// the second.
        pub(crate) fn called<T: Float>() -> &'static [fn(f64, f64) -> f64] {
            static DOUBLE: &[fn(f64, f64) -> f64] = &[
                $(|a, _| special::$s(a),)* $(special::$t,)*
                $(|a, _| Prim::$u.eval([a; 3]),)* $(|a, b| Prim::$v.eval([a, b, a]),)*
            ];
            // Operands come from single precision, and results go there: nothing is rounded here.
            static SINGLE: &[fn(f64, f64) -> f64] = &[
                $(|a, _| special::$s(a),)* $(special::$t,)*
                $(|a, _| Prim::$u.eval([f32::from_f64(a); 3]).to_f64(),)*
                $(|a, b| Prim::$v.eval([a, b, a].map(f32::from_f64)).to_f64(),)*
            ];
            if T::is_f32() { SINGLE } else { DOUBLE }
        }

        impl Prim {
            /// The number in [`called`] of a function that is called.
            pub(crate) fn called(self) -> Option<usize> {
                [$(Prim::$s,)* $(Prim::$t,)* $(Prim::$u,)* $(Prim::$v,)*].iter().position(|&prim| prim == self)
            }
        }
    };
    (@binary $($g:ident)*) => {
        $(
            #[doc = concat!("Records `", stringify!($g), "`.")]
            #[must_use]
            pub fn $g(self, other: Self) -> Self {
                record(Prim::$g, [self.0, other.0, 0])
            }
        )*
    };
    (@unary $($f:ident)*) => {
        $(
            #[doc = concat!("Records `", stringify!($f), "`.")]
            #[must_use]
            pub fn $f(self) -> Self {
                record(Prim::$f, [self.0, 0, 0])
            }
        )*
    };
}
functions!(prims);

impl Prim {
    /// Computes the primitive on plain numbers; operands beyond the arity are ignored.
    #[must_use]
    pub fn eval<T: Float>(self, operands: [T; 3]) -> T {
        eval_lane(self, operands)
    }
}

/// One step of a formula. Step `i` defines value `i`; operands are earlier values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FormulaStep {
    /// The formula's argument of this number.
    Arg(usize),
    /// A number literal.
    Lit(f64),
    /// A primitive of earlier values (operands beyond its arity are 0 and not used).
    Apply(Prim, [u32; 3]),
}

/// A formula over the primitives; the last step is its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Formula {
    steps: Vec<FormulaStep>,
    result: u32,
}

/// A value of the formula being traced.
#[derive(Clone, Copy, Debug)]
pub struct Traced(u32);

thread_local! {
    static STEPS: RefCell<Vec<FormulaStep>> = const { RefCell::new(Vec::new()) };
}

fn push(step: FormulaStep) -> Traced {
    STEPS.with_borrow_mut(|steps| {
        let index = u32::try_from(steps.len()).expect("a formula has far fewer than 2^32 steps");
        steps.push(step);
        Traced(index)
    })
}

fn record(prim: Prim, operands: [u32; 3]) -> Traced {
    push(FormulaStep::Apply(prim, operands))
}

impl Formula {
    /// Traces `body`, a formula of `arity` arguments.
    pub fn trace(arity: usize, body: impl FnOnce(&[Traced]) -> Traced) -> Formula {
        // An outer trace in progress is set aside and restored, so that a body may trace other formulas.
        let outer = STEPS.take();
        let args: Vec<Traced> = (0..arity).map(|i| push(FormulaStep::Arg(i))).collect();
        let result = body(&args).0;
        let steps = STEPS.replace(outer);
        Formula { steps, result }
    }

    /// The steps in order of evaluation.
    #[must_use]
    pub fn steps(&self) -> &[FormulaStep] {
        &self.steps
    }

    /// The index of the step that is the formula's value.
    #[must_use]
    pub fn result(&self) -> usize {
        self.result as usize
    }

    /// The primitive, if the formula is just one primitive applied to its arguments in order.
    #[must_use]
    pub fn as_prim(&self) -> Option<Prim> {
        match *self.steps.last()? {
            FormulaStep::Apply(prim, operands)
                if self.steps.len() == prim.arity() + 1
                    && self.result() + 1 == self.steps.len()
                    && (0..prim.arity()).all(|i| operands[i] as usize == i && self.steps[i] == FormulaStep::Arg(i)) =>
            {
                Some(prim)
            }
            _ => None,
        }
    }

    /// Evaluates the formula step by step, in the element type of the arguments.
    ///
    /// # Panics
    /// If there are fewer arguments than the formula uses.
    #[must_use]
    pub fn eval<T: Float>(&self, args: &[T]) -> T {
        let mut values: Vec<T> = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let value = match *step {
                FormulaStep::Arg(i) => args[i],
                FormulaStep::Lit(c) => T::from_f64(c),
                FormulaStep::Apply(prim, operands) => prim.eval(operands.map(|o| values[o as usize])),
            };
            values.push(value);
        }
        values[self.result()]
    }
}

impl fmt::Display for Formula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.steps.iter().enumerate() {
            match *step {
                FormulaStep::Arg(a) => writeln!(f, "v{i} = arg {a}")?,
                FormulaStep::Lit(c) => writeln!(f, "v{i} = {c}")?,
                FormulaStep::Apply(prim, operands) => {
                    write!(f, "v{i} = {prim:?}")?;
                    for o in &operands[..prim.arity()] {
                        write!(f, " v{o}")?;
                    }
                    writeln!(f)?;
                }
            }
        }
        write!(f, "return v{}", self.result)
    }
}

impl Traced {
    /// Records a step without operands.
    pub(super) fn leaf(step: FormulaStep) -> Traced {
        push(step)
    }

    /// Records a primitive; operands beyond its arity are ignored.
    pub(super) fn record(prim: Prim, operands: [Traced; 3]) -> Traced {
        let mut indices = operands.map(|o| o.0);
        indices[prim.arity()..].fill(0);
        record(prim, indices)
    }

    /// Records `powi` with a traced exponent.
    #[must_use]
    pub fn to_whole_power(self, n: Traced) -> Self {
        record(Prim::powi, [self.0, n.0, 0])
    }
}

impl Neg for Traced {
    type Output = Self;
    fn neg(self) -> Self {
        record(Prim::neg, [self.0, 0, 0])
    }
}

macro_rules! operators {
    ($($Trait:ident $method:ident),*) => {$(
        impl $Trait for Traced {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                record(Prim::$method, [self.0, other.0, 0])
            }
        }
        impl $Trait<f64> for Traced {
            type Output = Self;
            fn $method(self, other: f64) -> Self {
                $Trait::$method(self, push(FormulaStep::Lit(other)))
            }
        }
        impl $Trait<Traced> for f64 {
            type Output = Traced;
            fn $method(self, other: Traced) -> Traced {
                $Trait::$method(push(FormulaStep::Lit(self)), other)
            }
        }
    )*};
}
operators!(Add add, Sub sub, Mul mul, Div div);

impl Num for Traced {
    fn lit(self, c: f64) -> Self {
        push(FormulaStep::Lit(c))
    }
    fn is_less(self, other: Self) -> Self {
        record(Prim::is_less, [self.0, other.0, 0])
    }
    fn is_less_equal(self, other: Self) -> Self {
        record(Prim::is_less_equal, [self.0, other.0, 0])
    }
    fn is_equal(self, other: Self) -> Self {
        record(Prim::is_equal, [self.0, other.0, 0])
    }
    fn pick(self, yes: Self, no: Self) -> Self {
        record(Prim::pick, [self.0, yes.0, no.0])
    }
    fn powi(self, n: i32) -> Self {
        let n = self.lit(f64::from(n));
        self.to_whole_power(n)
    }
}
