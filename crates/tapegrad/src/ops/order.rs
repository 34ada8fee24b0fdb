//! Functions of a whole order that is fixed when they are recorded: an attribute of the node, handed to the kernel after the operand.

use super::attributes;
use super::power::attribute;
use crate::ir::{Attrs, Elementwise, Kernel, LeafValue, OpDef, Rule, RuleArgs, Sample, Tensor, Var, infer_elementwise};
use crate::num::{Dual, Float, Formula, Lanes, Num, Prim, Traced, for_each_lane};

/// From one declaration per function: its `OpDef`, its method on [`Var`], and its reading as plain and traced numbers.
macro_rules! of_order {
    ($(
        $(#[doc = $doc:literal])+
        $DEF:ident $name:ident($x:ident, $n:ident) {
            partial: $partial:expr,
            samples: [$(($sample:expr, $order:expr)),+ $(,)?],
        }
    )+) => {
        /// Functions of a whole order; see [`Real`](crate::Real).
        pub trait Orders: Num {
            $(
                $(#[doc = $doc])+
                #[must_use]
                #[track_caller]
                fn $name(self, $n: u32) -> Self;
            )+
        }
        impl<T: Float, const W: usize, const FMA: bool> Orders for Lanes<T, W, FMA> {
            $(
                #[inline(always)]
                fn $name(self, $n: u32) -> Self {
                    Lanes::$name(self, self.lit(f64::from($n)))
                }
            )+
        }
        impl Orders for Traced {
            $(
                fn $name(self, $n: u32) -> Self {
                    Traced::$name(self, self.lit(f64::from($n)))
                }
            )+
        }
        impl Orders for f64 {
            $(
                fn $name(self, $n: u32) -> Self {
                    Prim::$name.eval([self, f64::from($n), 0.0])
                }
            )+
        }
        impl<const N: usize> Orders for Dual<N> {
            $(
                fn $name(self, $n: u32) -> Self {
                    let value = Orders::$name(self.value, $n);
                    let partials = $DEF.elementwise().map_or(&[][..], |elementwise| elementwise.partials);
                    Dual::chain(value, &[self], |_| partials[0](&[self.value, f64::from($n)], value))
                }
            )+
        }
        impl Orders for Var {
            $(
                #[track_caller]
                fn $name(self, $n: u32) -> Self {
                    Var::$name(self, $n)
                }
            )+
        }
        impl Var {
            $(
                $(#[doc = $doc])+
                #[must_use]
                #[track_caller]
                pub fn $name(self, $n: u32) -> Var {
                    Var::record(&$DEF, &[self], Attrs::Scalar(f64::from($n)))
                }
            )+
        }
        $(
            $(#[doc = $doc])+
            pub static $DEF: OpDef = {
                fn partial<R: Orders>($x: R, $n: u32) -> R {
                    $partial
                }
                fn rule(args: &RuleArgs<'_>) -> Var {
                    partial(args.inputs[0], whole(attribute(args.attrs)))
                }
                OpDef {
                    name: stringify!($name),
                    doc: concat!($($doc, "\n"),+),
                    args: &[stringify!($x)],
                    variadic: false,
                    onnx: None,
                    infer: |operands, attrs| {
                        attributes::whole_number(attrs, 0.0..=f64::from(u32::MAX))?;
                        infer_elementwise(operands, attrs)
                    },
                    rule: Rule::Custom {
                        vjp: |args, _, ct| args.times(ct, rule(args)),
                        jvp: |args, tangents| args.times(tangents[0].expect("the only operand has a tangent"), rule(args)),
                    },
                    masks: false,
                    kernel: Kernel::Elementwise(&Elementwise {
                        scalar_f32: |x, n, _| Prim::$name.eval([x, n, n]),
                        scalar_f64: |x, n, _| Prim::$name.eval([x, n, n]),
                        tile_f32: |out, operands| for_each_lane(Prim::$name, out, operands),
                        tile_f64: |out, operands| for_each_lane(Prim::$name, out, operands),
                        formula: || Formula::trace(2, |args| args[0].$name(args[1])),
                        partials: &[|x, _| partial(x[0], whole(x[1])), |_, _| 0.0],
                    }),
                    samples: || {
                        let sample = |(x, n): (f64, f64)| Sample {
                            inputs: vec![LeafValue::Real(Tensor::from(x))],
                            attrs: Attrs::Scalar(n),
                        };
                        [$(($sample, $order)),+].map(sample).to_vec()
                    },
                }
            };
        )+
    };
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it was made from a u32
fn whole(n: f64) -> u32 {
    n as u32
}

of_order! {
    /// $\psi^{(n)}(x)$, the $n$-th derivative of `digamma`; infinite at 0 and negative whole numbers. NaN for $n$ above 170.
    POLYGAMMA polygamma(x, n) {
        partial: x.polygamma(n.saturating_add(1)),
        samples: [(1.5, 0.0), (0.75, 1.0), (3.0, 2.0), (-1.25, 3.0)],
    }
    /// Modified Bessel function of the first kind of whole order, $I_n(x)$. Digits are lost for $n$ above 100 000.
    BESSEL_I bessel_i(x, n) {
        partial: if n == 0 { x.bessel_i(1) } else { (x.bessel_i(n - 1) + x.bessel_i(n.saturating_add(1))) * 0.5 },
        samples: [(1.5, 0.0), (-0.75, 1.0), (3.0, 2.0), (30.0, 3.0)],
    }
    /// The $n$-th derivative of `sinc`. NaN for $n$ above 1300.
    SINC_DERIVATIVE sinc_derivative(x, n) {
        partial: x.sinc_derivative(n.saturating_add(1)),
        samples: [(1.5, 0.0), (-0.25, 1.0), (0.0, 2.0), (5.25, 1.0)],
    }
    /// The $n$-th derivative of `mills_excess`, for $n > 1$ also of `mills`, accurate in the lower tail; the first is the variance of a
    /// normal variable known to be below $x$. Digits are lost for $n$ above 6. NaN for $n$ above 12.
    MILLS_DERIVATIVE mills_derivative(x, n) {
        partial: x.mills_derivative(n.saturating_add(1)),
        samples: [(1.5, 1.0), (-0.25, 2.0), (-3.0, 1.0), (-30.0, 3.0)],
    }
}
