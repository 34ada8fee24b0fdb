//! A function of a number and its derivative, which share most of their steps: both take little longer than one.

use super::elementary;
use super::float::Float;
use super::lanes::{Lanes, PairFn, eval_pair};

macro_rules! pairs {
    ($($(#[$doc:meta])* $name:ident, $Pair:ident: $both:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name<T: Float>(x: T) -> (T, T) {
            eval_pair($Pair, x)
        }

        #[derive(Clone, Copy)]
        struct $Pair;

        impl PairFn for $Pair {
            #[inline(always)]
            fn eval<T: Float, const FMA: bool>(self, x: Lanes<T, 1, FMA>) -> (Lanes<T, 1, FMA>, Lanes<T, 1, FMA>) {
                elementary::$both::<T, _>(x)
            }
        }
    )*};
}

pairs! {
    /// tanh and its slope, with the bits of each by itself.
    tanh_with_slope, Tanh: tanh_with_slope;
    /// The logistic function and its slope, with the bits of each by itself.
    logistic_with_slope, Logistic: logistic_with_slope;
}
