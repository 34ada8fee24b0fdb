//! Losses that are sums over single outputs, as types, so that a pass over memory is compiled for each.

use std::marker::PhantomData;

use super::function::Function;
use crate::real::Real;
use crate::simd::Lanes;

/// A term for every output.
pub(super) trait Terms {
    /// The term of output `a` against label `y`, and its derivative by what went into the last activation.
    fn term<V: Lanes>(cpu: V::Cpu, a: V, y: V) -> (V, V);
}

/// (a - y)², for both squared losses: they differ in scale.
pub(super) struct Squared<F>(PhantomData<F>);
/// Cross-entropy of labels 0 and 1 after the logistic function.
pub(super) struct Bce;
/// The same before it.
pub(super) struct Logits;

impl<F: Function> Terms for Squared<F> {
    #[inline(always)]
    fn term<V: Lanes>(cpu: V::Cpu, a: V, y: V) -> (V, V) {
        let error = a - y;
        let twice = error + error;
        (error * error, if F::IDENTITY { twice } else { twice * F::slope(cpu, a) })
    }
}

impl Terms for Bce {
    #[inline(always)]
    fn term<V: Lanes>(cpu: V::Cpu, a: V, y: V) -> (V, V) {
        let number = |x| V::splat(cpu, V::Elem::from_f64(x));
        let likelihood = y.positive_then(a, number(1.0) - a);
        (number(0.0) - likelihood.ln(cpu), a - y)
    }
}

impl Terms for Logits {
    #[inline(always)]
    fn term<V: Lanes>(cpu: V::Cpu, a: V, y: V) -> (V, V) {
        // With z towards the wrong label: ln(1 + e^z), whose derivative is the logistic function.
        let zero = V::splat(cpu, V::Elem::from_f64(0.0));
        let (term, slope) = y.positive_then(zero - a, a).softplus(cpu);
        (term, y.positive_then(zero - slope, slope))
    }
}

/// Evaluates `$body` with the type `$l` of a loss, of [`Terms`], after an activation.
macro_rules! with_terms {
    ($loss:expr, $activation:expr, $l:ident => $body:expr, classes => $classes:expr) => {{
        use $crate::cases::Loss;
        use $crate::contestants::expert::terms;
        match $loss {
            Loss::Mse | Loss::HalfSse => $crate::contestants::expert::function::with_function!($activation, F => {
                type $l = terms::Squared<F>;
                $body
            }),
            Loss::Bce => {
                type $l = terms::Bce;
                $body
            }
            Loss::BceWithLogits => {
                type $l = terms::Logits;
                $body
            }
            Loss::CrossEntropy | Loss::Nll => $classes,
        }
    }};
}
pub(super) use with_terms;
