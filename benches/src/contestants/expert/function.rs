//! Activations over vectors, as types, so that a pass over memory is compiled for each.

use crate::real::Real;
use crate::simd::Lanes;

/// An activation.
pub(super) trait Function {
    /// Whether it is the identity.
    const IDENTITY: bool = false;
    /// a = f(z).
    fn value<V: Lanes>(cpu: V::Cpu, z: V) -> V;
    /// f'(z), from a = f(z).
    fn slope<V: Lanes>(cpu: V::Cpu, a: V) -> V;
}

/// [`crate::cases::Activation::Identity`]
pub(super) struct Identity;
/// [`crate::cases::Activation::Sigmoid`]
pub(super) struct Sigmoid;
/// [`crate::cases::Activation::Tanh`]
pub(super) struct Tanh;
/// [`crate::cases::Activation::Relu`]
pub(super) struct Relu;
/// [`crate::cases::Activation::Softplus`]
pub(super) struct Softplus;

#[inline(always)]
fn number<V: Lanes>(cpu: V::Cpu, x: f64) -> V {
    V::splat(cpu, V::Elem::from_f64(x))
}

impl Function for Identity {
    const IDENTITY: bool = true;
    #[inline(always)]
    fn value<V: Lanes>(_: V::Cpu, z: V) -> V {
        z
    }
    #[inline(always)]
    fn slope<V: Lanes>(cpu: V::Cpu, _: V) -> V {
        number(cpu, 1.0)
    }
}

impl Function for Sigmoid {
    #[inline(always)]
    fn value<V: Lanes>(cpu: V::Cpu, z: V) -> V {
        z.sigmoid(cpu)
    }
    #[inline(always)]
    fn slope<V: Lanes>(_: V::Cpu, a: V) -> V {
        a.neg_mul_add(a, a)
    }
}

impl Function for Tanh {
    #[inline(always)]
    fn value<V: Lanes>(cpu: V::Cpu, z: V) -> V {
        z.tanh(cpu)
    }
    #[inline(always)]
    fn slope<V: Lanes>(cpu: V::Cpu, a: V) -> V {
        a.neg_mul_add(a, number(cpu, 1.0))
    }
}

impl Function for Relu {
    #[inline(always)]
    fn value<V: Lanes>(cpu: V::Cpu, z: V) -> V {
        z.max(number(cpu, 0.0))
    }
    #[inline(always)]
    fn slope<V: Lanes>(cpu: V::Cpu, a: V) -> V {
        a.positive_then(number(cpu, 1.0), number(cpu, 0.0))
    }
}

impl Function for Softplus {
    #[inline(always)]
    fn value<V: Lanes>(cpu: V::Cpu, z: V) -> V {
        z.softplus(cpu).0
    }
    #[inline(always)]
    fn slope<V: Lanes>(cpu: V::Cpu, a: V) -> V {
        // The logistic function of z is 1 - e^-a.
        number::<V>(cpu, 1.0) - (number::<V>(cpu, 0.0) - a).exp(cpu)
    }
}

/// Evaluates `$body` with the type `$f` of an activation.
macro_rules! with_function {
    ($activation:expr, $f:ident => $body:expr) => {{
        use $crate::cases::Activation;
        use $crate::contestants::expert::function as functions;
        match $activation {
            // What is over whole rows is another pass: nothing of it is elementwise.
            Activation::Identity | Activation::Softmax | Activation::LogSoftmax => {
                type $f = functions::Identity;
                $body
            }
            Activation::Sigmoid => {
                type $f = functions::Sigmoid;
                $body
            }
            Activation::Tanh => {
                type $f = functions::Tanh;
                $body
            }
            Activation::Relu => {
                type $f = functions::Relu;
                $body
            }
            Activation::Softplus => {
                type $f = functions::Softplus;
                $body
            }
        }
    }};
}
pub(super) use with_function;
