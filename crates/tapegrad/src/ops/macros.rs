//! [`elementwise!`]: from one declaration per operation, everything that is known of it.
//!
//! One entry
//!
//! ```text
//! /// Logistic function, $\sigma(x) = 1/(1+e^{-x})$.
//! SIGMOID sigmoid(x) -> y { forward: .., partials: [..], onnx: Some("Sigmoid"), samples: [[0.5]] }
//! ```
//!
//! expands to
//!
//! 1. `static SIGMOID: OpDef`, with the scalar and loop readings for both element types, the formula reading, the
//!    graph-recording derivative rule and its numeric twin, the type rule, the documentation and the samples;
//! 2. a method `sigmoid` of the trait named at the top, implemented for lanes and traced formulas (by reading `forward`), for plain
//!    `f64` (by a lane), for forward duals (by the numeric twin of the rule) and for [`Var`](crate::Var) (by recording a node).
//!
//! The text of `forward` and `partials` is read in several types; see [`crate::num`] for the vocabulary it may use. In
//! `partials` the inputs and the output `y` are in scope; a partial that does not depend on them is written `x.lit(1.0)`.
//! `tile: path` behind the samples names a function that fills a tile instead of the loop over `forward`, with the same bits.

/// Declares elementwise operations, here or in a user's crate. See the book's page "Adding an operation".
#[macro_export]
macro_rules! elementwise {
    // The engine's own declarations also become inherent methods of `Var`, usable without importing the trait.
    (inherent; $($declarations:tt)+) => {
        $crate::elementwise!($($declarations)+);
        $crate::elementwise!(@inherent $($declarations)+);
    };
    (
        $(#[$meta:meta])*
        $vis:vis trait $Trait:ident $(: $Super:ident $(+ $More:ident)*)?;
        $(
            $(#[doc = $doc:literal])+
            $DEF:ident $name:ident($x:ident $(, $rest:ident)*) -> $y:ident {
                forward: $forward:expr,
                partials: [$($partial:expr),+ $(,)?],
                onnx: $onnx:expr,
                samples: [$([$($sample:expr),+]),+ $(,)?]
                $(, tile: $tile:path)? $(,)?
            }
        )+
    ) => {
        $(#[$meta])*
        $vis trait $Trait: $crate::num::Num $(+ $Super $(+ $More)*)? {
            $(
                $(#[doc = $doc])+
                #[must_use]
                #[track_caller]
                fn $name(self $(, $rest: Self)*) -> Self;
            )+
        }
        impl $Trait for f64 {
            $(
                fn $name(self $(, $rest: Self)*) -> Self {
                    $crate::elementwise!(@lane_fn $Trait, $name, ($x $(, $rest)*));
                    let mut operands = [self; 3];
                    operands[1..].iter_mut().zip([$($rest),*]).for_each(|(to, from): (&mut f64, f64)| *to = from);
                    $crate::num::eval_lane(Reading, operands)
                }
            )+
        }
        $crate::elementwise!(@read $Trait,
            [T: $crate::num::Float, const W: usize, const FMA: bool] $crate::num::Lanes<T, W, FMA>,
            $($name($x $(, $rest)*) $forward;)+);
        $crate::elementwise!(@read $Trait, [] $crate::num::Traced, $($name($x $(, $rest)*) $forward;)+);
        impl<const N: usize> $Trait for $crate::num::Dual<N> {
            $(
                fn $name(self $(, $rest: Self)*) -> Self {
                    let value = <f64 as $Trait>::$name(self.value $(, $rest.value)*);
                    $crate::ops::eval_dual(&$DEF, &[self $(, $rest)*], value)
                }
            )+
        }
        impl $Trait for $crate::Var {
            $(
                #[track_caller]
                fn $name(self $(, $rest: Self)*) -> Self {
                    $crate::ops::record_elementwise(&$DEF, &[self $(, $rest)*])
                }
            )+
        }
        $(
            $crate::elementwise!(@def $Trait, $vis, [$($doc),+], $DEF, $name, ($x $(, $rest)*), ($x $(, $rest)*), $y,
                [$($partial),+], $onnx, [$([$($sample),+]),+], [$($tile)?]);
        )+
    };
    (@inherent
        $(#[$meta:meta])*
        $vis:vis trait $Trait:ident $(: $Super:ident $(+ $More:ident)*)?;
        $(
            $(#[doc = $doc:literal])+
            $DEF:ident $name:ident($x:ident $(, $rest:ident)*) -> $y:ident { $($body:tt)+ }
        )+
    ) => {
        #[allow(clippy::should_implement_trait)]
        impl $crate::Var {
            $(
                $(#[doc = $doc])+
                #[must_use]
                #[track_caller]
                pub fn $name(self $(, $rest: $crate::Var)*) -> Self {
                    $crate::ops::record_elementwise(&$DEF, &[self $(, $rest)*])
                }
            )+
        }
    };
    (@read $Trait:ident, [$($generics:tt)*] $Type:ty, $($name:ident($x:ident $(, $rest:ident)*) $forward:expr;)+) => {
        impl<$($generics)*> $Trait for $Type {
            $(
                #[inline(always)]
                fn $name(self $(, $rest: Self)*) -> Self {
                    let $x = self;
                    $forward
                }
            )+
        }
    };
    (@def $Trait:ident, $vis:vis, [$($doc:literal),+], $DEF:ident, $name:ident, ($($x:ident),+), $args:tt, $y:ident,
        [$($partial:expr),+], $onnx:expr, [$($sample:tt),+], [$($tile:path)?]) => {
        $(#[doc = $doc])+
        $vis static $DEF: $crate::ir::OpDef = {
            use $crate::num::{Float, Formula, Traced};
            $crate::elementwise!(@lane_fn $Trait, $name, ($($x),+));
            fn scalar<T: Float>(a: T, b: T, c: T) -> T {
                $crate::num::eval_lane(Reading, [a, b, c])
            }
            fn tile<T: Float>(out: &mut [T], operands: [&[T]; 3]) {
                $crate::elementwise!(@tile [$($tile)?] Reading, out, operands);
            }
            $crate::ir::OpDef {
                name: stringify!($name),
                doc: concat!($($doc, "\n"),+),
                args: &[$(stringify!($x)),+],
                variadic: false,
                onnx: $onnx,
                infer: $crate::ir::infer_elementwise,
                rule: $crate::ir::Rule::Partials(&[$($crate::elementwise!(@partial $crate::Var, $args, $y, $partial)),+]),
                masks: false,
                kernel: $crate::ir::Kernel::Elementwise(&$crate::ir::Elementwise {
                    scalar_f32: scalar::<f32>,
                    scalar_f64: scalar::<f64>,
                    tile_f32: tile::<f32>,
                    tile_f64: tile::<f64>,
                    formula: || {
                        const ARITY: usize = [$(stringify!($x)),+].len();
                        Formula::trace(ARITY, |args| {
                            let &[$($x),+] = args else { unreachable!("traced with {ARITY} arguments") };
                            <Traced as $Trait>::$name($($x),+)
                        })
                    },
                    partials: &[$($crate::elementwise!(@partial f64, $args, $y, $partial)),+],
                }),
                samples: || $crate::ir::scalar_samples(&[$(&$sample),+]),
            }
        };
    };
    (@tile [] $reading:expr, $out:ident, $operands:ident) => {
        $crate::num::for_each_lane($reading, $out, $operands);
    };
    (@tile [$tile:path] $reading:expr, $out:ident, $operands:ident) => {
        $tile($reading, $out, $operands);
    };
    (@lane_fn $Trait:ident, $name:ident, ($($x:ident),+)) => {
        #[derive(Clone, Copy)]
        struct Reading;
        impl $crate::num::LaneFn for Reading {
            #[inline(always)]
            fn eval<T: $crate::num::Float, const FMA: bool>(
                self,
                [$($x,)+ ..]: [$crate::num::Lanes<T, 1, FMA>; 3],
            ) -> $crate::num::Lanes<T, 1, FMA> {
                <$crate::num::Lanes<T, 1, FMA> as $Trait>::$name($($x),+)
            }
        }
    };
    (@partial $Type:ty, ($($x:ident),+), $y:ident, $partial:expr) => {
        |inputs: &[$Type], output: $Type| -> $Type {
            #[allow(unused_variables)]
            let (&[$($x),+], $y) = (inputs, output) else { unreachable!("one operand per argument") };
            $partial
        }
    };
}
