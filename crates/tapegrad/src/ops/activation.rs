//! Activation functions of networks, beyond `relu`, `sigmoid`, `tanh` and `softplus`.
//!
//! At a kink the derivative is that of PyTorch.

use super::{Real, Special};
use crate::elementwise;
use crate::num::Num;

/// α and the scale of `selu`, and their product (Klambauer et al., "Self-normalizing neural networks", 2017).
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
/// 2√(2/π), and 3·0.044715 times it (Hendrycks and Gimpel, "Gaussian error linear units", 2016).
const GELU_SLOPE: f64 = 1.595_769_121_605_730_8;
const GELU_SQUARE: f64 = 0.214_064_448_817_800_75;

/// `a` times the derivative of the argument of [`GELU_GATE`], where `a` has a factor that vanishes far out: multiplied with
/// it first, $x^2$ does not overflow.
fn times_argument_slope<R: Num>(a: R, x: R) -> R {
    (a * x) * x * GELU_SQUARE + a * GELU_SLOPE
}

elementwise! {
    inherent;
    /// Activation functions; see [`Real`].
    pub trait Activation;

    /// $\ln \sigma(x)$, without overflow.
    LOGSIGMOID logsigmoid(x) -> y {
        forward: -(-x).softplus(),
        partials: [(-x).sigmoid()],
        onnx: None,
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// $x\,\sigma(x)$, also called swish.
    SILU silu(x) -> y {
        forward: x * x.logistic(),
        partials: [x.sigmoid() + x * x.dsigmoid()],
        onnx: None,
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// $x\,\Phi(x)$ with the normal distribution $\Phi$.
    GELU gelu(x) -> y {
        forward: x * x.ndtr(),
        partials: [x.ndtr() + x * x.normal_pdf()],
        onnx: Some("Gelu"),
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// The approximation of `gelu` by $\frac{x}{2}(1 + \tanh(\sqrt{2/\pi}(x + 0.044715 x^3)))$.
    GELU_TANH gelu_tanh(x) -> y {
        forward: x * x.gelu_gate(),
        partials: [Activation::gelu_gate(x) + times_argument_slope(x * x.gelu_gate_slope(), x)],
        onnx: None,
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// The factor of $x$ in `gelu_tanh`, $\sigma(u)$ with $u = 2\sqrt{2/\pi}(x + 0.044715 x^3)$, accurate in the lower tail.
    GELU_GATE gelu_gate(x) -> y {
        forward: x.gelu_gate(),
        partials: [times_argument_slope(x.gelu_gate_slope(), x)],
        onnx: None,
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// $\sigma'(u)$ with $u$ of `gelu_gate`, accurate in both tails.
    GELU_GATE_SLOPE gelu_gate_slope(x) -> y {
        forward: x.gelu_gate_slope(),
        // σ'' = −σ'·tanh(u/2), times u'.
        partials: [-times_argument_slope(y * (x * (GELU_SQUARE / 6.0 * (x * x) + 0.5 * GELU_SLOPE)).tanh(), x)],
        onnx: None,
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// $x \tanh(\ln(1 + e^x))$.
    MISH mish(x) -> y {
        forward: x * x.softplus().tanh(),
        partials: [x.softplus().tanh() + x * x.softplus().dtanh() * x.sigmoid()],
        onnx: Some("Mish"),
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// $x$ where it is positive, else $\mathrm{slope} \cdot x$; the derivative at 0 is the slope.
    LEAKY_RELU leaky_relu(x, slope) -> y {
        forward: x.lit(0.0).is_less(x).pick(x, slope * x),
        partials: [
            x.greater(x.lit(0.0)).pick(x.lit(1.0), slope),
            x.greater(x.lit(0.0)).pick(x.lit(0.0), x)
        ],
        onnx: Some("PRelu"),
        samples: [[1.5, 0.25], [-0.25, 0.25]],
    }
    /// $x$ where it is positive, else $\alpha(e^x - 1)$; the derivative at 0 is $\alpha$.
    ELU elu(x, alpha) -> y {
        forward: x.lit(0.0).is_less(x).pick(x, alpha * x.exp_m1()),
        partials: [
            x.greater(x.lit(0.0)).pick(x.lit(1.0), alpha * x.exp()),
            x.greater(x.lit(0.0)).pick(x.lit(0.0), x.exp_m1())
        ],
        onnx: None,
        samples: [[1.5, 0.5], [-0.25, 0.5]],
    }
    /// $\lambda x$ where $x$ is positive, else $\lambda\alpha(e^x - 1)$, with the constants that keep mean and variance of a layer; the
    /// derivative at 0 is $\lambda\alpha$.
    SELU selu(x) -> y {
        forward: SELU_SCALE * x.lit(0.0).is_less(x).pick(x, SELU_ALPHA * x.exp_m1()),
        partials: [x.greater(x.lit(0.0)).pick(x.lit(SELU_SCALE), (SELU_SCALE * SELU_ALPHA) * x.exp())],
        onnx: Some("Selu"),
        samples: [[1.5], [-0.25]],
    }
    /// $x$ where it is positive, else $\alpha(e^{x/\alpha} - 1)$, with $\alpha > 0$; the derivative at 0 is 1.
    CELU celu(x, alpha) -> y {
        forward: x.lit(0.0).is_less(x).pick(x, alpha * (x / alpha).exp_m1()),
        partials: [
            x.greater(x.lit(0.0)).pick(x.lit(1.0), (x / alpha).exp()),
            x.greater(x.lit(0.0)).pick(x.lit(0.0), (x / alpha).exp_m1() - x / alpha * (x / alpha).exp())
        ],
        onnx: None,
        samples: [[1.5, 0.5], [-0.25, 0.5]],
    }
    /// $\min(\max(x, 0), 6)$; the derivative at 0 and at 6 is 0.
    RELU6 relu6(x) -> y {
        forward: x.is_less_equal(x.lit(0.0)).pick(x.lit(0.0), x.lit(6.0).is_less(x).pick(x.lit(6.0), x)),
        partials: [x.greater(x.lit(0.0)) * x.less(x.lit(6.0))],
        onnx: None,
        samples: [[1.5], [-0.25], [7.0]],
    }
    /// $x$, but not below `low` and not above `high`, where NaN is no bound; the derivative by $x$ at a bound is 0, and that by the
    /// bound 1 (`clamp` has it the other way round).
    HARDTANH hardtanh(x, low, high) -> y {
        forward: x.is_less_equal(low).pick(low, high.is_less_equal(x).pick(high, x)),
        partials: [
            (x.less_equal(low) + high.less_equal(x)).pick(x.lit(0.0), x.equal(x)),
            x.less_equal(low),
            x.less_equal(low).pick(x.lit(0.0), high.less_equal(x))
        ],
        onnx: None,
        samples: [[0.5, -1.0, 2.0], [-1.5, -1.0, 2.0], [2.5, -1.0, 2.0]],
    }
    /// $(x + 3)/6$ between 0 and 1; the derivative at $\pm 3$ is 0.
    HARDSIGMOID hardsigmoid(x) -> y {
        forward: x.is_less_equal(x.lit(-3.0)).pick(x.lit(0.0), x.lit(3.0).is_less_equal(x).pick(x.lit(1.0), (x + 3.0) / 6.0)),
        partials: [x.greater(x.lit(-3.0)) * x.less(x.lit(3.0)) / 6.0],
        onnx: None,
        samples: [[1.5], [-0.25], [-4.0], [4.0]],
    }
    /// $x$ times `hardsigmoid`; the derivative at $-3$ is 0, at 3 it is 1.
    HARDSWISH hardswish(x) -> y {
        forward: x.is_less_equal(x.lit(-3.0)).pick(x.lit(0.0), x.lit(3.0).is_less_equal(x).pick(x, x * (x + 3.0) / 6.0)),
        partials: [
            x.less_equal(x.lit(-3.0)).pick(x.lit(0.0), x.greater_equal(x.lit(3.0)).pick(x.lit(1.0), (2.0 * x + 3.0) / 6.0))
        ],
        onnx: Some("HardSwish"),
        samples: [[1.5], [-0.25], [-4.0], [4.0]],
    }
    /// $x/(1 + |x|)$.
    SOFTSIGN softsign(x) -> y {
        forward: x / (x.abs() + 1.0),
        partials: [(x.abs() + 1.0).square().recip()],
        onnx: Some("Softsign"),
        samples: [[1.5], [-0.25]],
    }
    /// $x - \tanh x$, accurate near 0.
    TANHSHRINK tanhshrink(x) -> y {
        // tanh x = x/(1 + u) with the continued fraction u = w/(3 + w/(5 + w/(7 + …))), w = x², so it is x·u/(1 + u).
        forward: {
            let w = x * x;
            let tail = w / (w / (w / (w / (w / 19.0 + 17.0) + 15.0) + 13.0) + 11.0);
            let u = w / (w / (w / (w / (tail + 9.0) + 7.0) + 5.0) + 3.0);
            x.abs().is_less(x.lit(1.0)).pick(x * (u / (u + 1.0)), x - x.tanh())
        },
        partials: [x.tanh().square()],
        onnx: None,
        samples: [[1.5], [-0.25], [1e-3]],
    }
    /// $x$ where its size is above `bound`, else 0; the derivative at the bounds is 0, as it is by the bound.
    HARDSHRINK hardshrink(x, bound) -> y {
        forward: x.abs().is_less_equal(bound).pick(x.lit(0.0), x),
        partials: [x.abs().less_equal(bound).pick(x.lit(0.0), x.lit(1.0)), x.lit(0.0)],
        onnx: None,
        samples: [[1.5, 0.5], [-0.25, 0.5], [-1.5, 0.5]],
    }
    /// $x$ moved towards 0 by `bound`, and 0 where its size is not above it; the derivative at the bounds is 0.
    SOFTSHRINK softshrink(x, bound) -> y {
        forward: x.abs().is_less_equal(bound).pick(x.lit(0.0), x - bound * x.sign()),
        partials: [
            x.abs().less_equal(bound).pick(x.lit(0.0), x.lit(1.0)),
            x.abs().less_equal(bound).pick(x.lit(0.0), -x.sign())
        ],
        onnx: Some("Shrink"),
        samples: [[1.5, 0.5], [-0.25, 0.5], [-1.5, 0.5]],
    }
    /// $x$ where it is above `bound`, else `value`; NaN stays NaN. The derivative by $x$ at the bound is 0, as it is by the bound.
    THRESHOLD threshold(x, bound, value) -> y {
        forward: x.is_less_equal(bound).pick(value, x),
        partials: [
            x.less_equal(bound).pick(x.lit(0.0), x.lit(1.0)),
            x.lit(0.0),
            x.less_equal(bound)
        ],
        onnx: None,
        samples: [[1.5, 0.5, 7.0], [-0.25, 0.5, 7.0]],
    }
}
