//! Inverse trigonometry and hyperbolic functions.

use super::{Orders, Powers, Real};
use crate::elementwise;
use crate::num::Num;
use std::f64::consts::LN_2;

elementwise! {
    inherent;
    /// Inverse trigonometry and hyperbolic functions; see [`Real`].
    pub trait Trigonometry;

    /// $1 - x^2$ as $(1 - x)(1 + x)$, which keeps its digits near $\pm 1$.
    ONE_MINUS_SQUARE one_minus_square(x) -> y {
        forward: (1.0 - x) * (x + 1.0),
        partials: [-2.0 * x],
        onnx: None,
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// Arc sine, in radians; NaN beyond $\pm 1$, where the derivative is $\infty$.
    ASIN asin(x) -> y {
        forward: x.asin(),
        partials: [x.one_minus_square().rsqrt()],
        onnx: Some("Asin"),
        samples: [[0.75], [-0.25], [0.0]],
    }
    /// Arc cosine, in radians; NaN beyond $\pm 1$, where the derivative is $-\infty$.
    ACOS acos(x) -> y {
        forward: x.acos(),
        partials: [-x.one_minus_square().rsqrt()],
        onnx: Some("Acos"),
        samples: [[0.75], [-0.25], [0.0]],
    }
    /// Arc tangent, in radians.
    ATAN atan(x) -> y {
        forward: x.atan(),
        partials: [(x * x + 1.0).recip()],
        onnx: Some("Atan"),
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// The angle of the point $(b, a)$, in radians between $-\pi$ and $\pi$. At $(0, 0)$, where no derivative exists, both are 0.
    ATAN2 atan2(a, b) -> y {
        forward: a.atan2(b),
        partials: [
            a.hypot(b).equal(a.lit(0.0)).pick(a.lit(0.0), b.direction(a) / a.hypot(b)),
            a.hypot(b).equal(a.lit(0.0)).pick(a.lit(0.0), -(a.direction(b) / a.hypot(b)))
        ],
        onnx: None,
        samples: [[1.5, -2.0], [0.5, 3.0], [-0.5, -3.0]],
    }
    /// Hyperbolic sine.
    SINH sinh(x) -> y {
        // With e = e^|x| − 1 it is (e + e/(e + 1))/2; far out e^(|x|/2)·e^(|x|/2)/2, which overflows no sooner than it must.
        forward: {
            let size = x.abs();
            let (e, half) = (size.exp_m1(), (0.5 * size).exp());
            size.is_less(size.lit(20.0)).pick(0.5 * (e + e / (e + 1.0)), 0.5 * half * half).copysign(x)
        },
        partials: [x.cosh()],
        onnx: Some("Sinh"),
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// Hyperbolic cosine.
    COSH cosh(x) -> y {
        forward: {
            let size = x.abs();
            let (e, half) = (size.exp(), (0.5 * size).exp());
            size.is_less(size.lit(20.0)).pick(0.5 * e + 0.5 / e, 0.5 * half * half)
        },
        partials: [x.sinh()],
        onnx: Some("Cosh"),
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// Inverse hyperbolic sine.
    ASINH asinh(x) -> y {
        // ln(|x| + √(x² + 1)) as ln(1 + …), so that nothing cancels near 0; far out, where x² could overflow, ln 2|x|.
        forward: {
            let size = x.abs();
            let w = size * size;
            let near = (size + w / ((w + 1.0).sqrt() + 1.0)).ln_1p();
            size.is_less(size.lit(268_435_456.0)).pick(near, size.ln() + LN_2).copysign(x)
        },
        partials: [x.hypot(x.lit(1.0)).recip()],
        onnx: Some("Asinh"),
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// Inverse hyperbolic cosine; NaN below 1, where the derivative is $\infty$.
    ACOSH acosh(x) -> y {
        // ln(x + √(x² − 1)) as ln(1 + …), so that nothing cancels near 1; far out, where x² could overflow, ln 2x.
        forward: {
            let above = x - 1.0;
            let near = (above + (above * (above + 2.0)).sqrt()).ln_1p();
            x.lit(268_435_456.0).is_less(x).pick(x.ln() + LN_2, near)
        },
        partials: [(x - 1.0).rsqrt() * (x + 1.0).rsqrt()],
        onnx: Some("Acosh"),
        samples: [[1.5], [1.015625], [400.0]],
    }
    /// Inverse hyperbolic tangent; $\pm\infty$ at $\pm 1$, NaN beyond.
    ATANH atanh(x) -> y {
        forward: {
            let size = x.abs();
            (0.5 * (2.0 * size / (1.0 - size)).ln_1p()).copysign(x)
        },
        partials: [x.one_minus_square().recip()],
        onnx: Some("Atanh"),
        samples: [[0.75], [-0.25], [0.0]],
    }
    /// Normalised cardinal sine, $\sin(\pi x)/(\pi x)$; 1 at 0, and 0 at $\pm\infty$.
    SINC sinc(x) -> y {
        forward: x.sinc_derivative(x.lit(0.0)),
        partials: [x.sinc_derivative(1)],
        onnx: None,
        samples: [[1.5], [-0.25], [0.0]],
    }
}
