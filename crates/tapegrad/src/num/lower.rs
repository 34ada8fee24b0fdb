//! Formulas for machines: the elementary functions written out.

use super::elementary::{self, Machine};
use super::float::{Float, Num, functions};
use super::formula::{Formula, FormulaStep, Prim, Traced};

impl Machine for Traced {
    // Machine code is made only for CPUs that can.
    const FUSED: bool = true;
    fn mul_add(self, b: Self, c: Self) -> Self {
        Traced::record(Prim::mul_add, [self, b, c])
    }
    fn abs(self) -> Self {
        Traced::abs(self)
    }
    fn at_least(self, low: Self) -> Self {
        Traced::record(Prim::at_least, [self, low, low])
    }
    fn at_most(self, high: Self) -> Self {
        Traced::record(Prim::at_most, [self, high, high])
    }
    fn pick_negative(self, yes: Self, no: Self) -> Self {
        Traced::record(Prim::pick_negative, [self, yes, no])
    }
    fn add_exponent(self, k: Self) -> Self {
        Traced::record(Prim::add_exponent, [self, k, k])
    }
    fn ldexp_sum(self, other: Self, n: Self) -> Self {
        Traced::record(Prim::ldexp_sum, [self, other, n])
    }
    fn exponent(self) -> Self {
        Traced::record(Prim::exponent, [self; 3])
    }
    fn significand(self) -> Self {
        Traced::record(Prim::significand, [self; 3])
    }
}

macro_rules! lower {
    (
        unary: [$($f:ident),*], guarded: [$($u:ident),*], elementary: [$($e:ident),*], logistic: [$($l:ident),*], binary: [$($g:ident),*], guarded_of_two: [$($v:ident),*],
        special: [$($s:ident),*], special_of_two: [$($t:ident),*]
    ) => {
        /// Records a primitive, written out where it is an elementary function.
        fn lower<T: Float>(prim: Prim, [x, b, c]: [Traced; 3], exponent: Option<i32>) -> Traced {
            match (prim, exponent) {
                $((Prim::$e, _) => elementary::$e::<T, Traced>(x),)*
                $((Prim::$l, _) => elementary::$l::<T, Traced>(x),)*
                (Prim::powi, Some(n)) => powi(x, n),
                _ => Traced::record(prim, [x, b, c]),
            }
        }
    };
}
functions!(lower);

/// Repeated multiplication, in the order in which numbers do it.
fn powi(x: Traced, n: i32) -> Traced {
    let (mut product, mut square, mut rest) = (None, x, n.unsigned_abs());
    while rest > 0 {
        if rest % 2 == 1 {
            product = Some(product.map_or(square, |p: Traced| p * square));
        }
        rest /= 2;
        if rest > 0 {
            square = square * square;
        }
    }
    match product {
        None => x.lit(1.0),
        Some(p) if n < 0 => 1.0 / p,
        Some(p) => p,
    }
}

impl Formula {
    /// For the logistic function and its derivative: the formula that shares most of its steps with `softplus` of the same
    /// number or its negative, whose first step is the absolute value.
    pub(crate) fn lowered_by_size<T: Float>(&self) -> Option<Formula> {
        self.logistic([elementary::logistic_by_size::<T, Traced>, elementary::logistic_slope_by_size::<T, Traced>])
    }

    /// For the logistic function and its derivative: the formula whose result, with the same bits, is known sooner.
    pub(crate) fn lowered_sooner<T: Float>(&self) -> Option<Formula> {
        self.logistic([elementary::logistic_sooner::<T, Traced>, elementary::logistic_slope_sooner::<T, Traced>])
    }

    /// One of two forms, if this is the logistic function, or its derivative.
    fn logistic(&self, [itself, slope]: [fn(Traced) -> Traced; 2]) -> Option<Formula> {
        let form = match self.steps() {
            [FormulaStep::Arg(0), FormulaStep::Apply(Prim::logistic, _)] => itself,
            [FormulaStep::Arg(0), FormulaStep::Apply(Prim::logistic_slope, _)] => slope,
            _ => return None,
        };
        Some(Formula::trace(1, |args| form(args[0])))
    }

    /// The formula with the elementary functions written out for element type `T`, and powers with a literal exponent
    /// multiplied out. Of functions only `sin`, `cos`, `tan`, `powf`, other powers and those that
    /// [`crate::num`] calls are left.
    ///
    /// Its steps in `T` give the same bits as the lane reading, where the CPU has a fused multiply-add.
    #[must_use]
    pub fn lowered<T: Float>(&self) -> Formula {
        Formula::trace(0, |_| {
            let mut values: Vec<Traced> = Vec::with_capacity(self.steps().len());
            for &step in self.steps() {
                values.push(match step {
                    FormulaStep::Apply(prim, operands) => {
                        let exponent = match self.steps()[operands[1] as usize] {
                            #[allow(clippy::cast_possible_truncation)] // it was made from an `i32`
                            FormulaStep::Lit(n) => Some(n as i32),
                            _ => None,
                        };
                        lower::<T>(prim, operands.map(|o| values[o as usize]), exponent)
                    }
                    leaf => Traced::leaf(leaf),
                });
            }
            values[self.result()]
        })
    }
}
