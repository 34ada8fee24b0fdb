//! Special functions: error function, normal distribution, gamma and Bessel functions.
//!
//! Derivatives are again functions of this file, in forms that keep their digits in the tails. How the functions are computed is in
//! `num::special`.

use super::{Orders, Real};
use crate::elementwise;
use crate::num::Num;
use std::f64::consts::{FRAC_2_SQRT_PI, PI, SQRT_2};

elementwise! {
    inherent;
    /// Special functions; see [`Real`].
    pub trait Special;

    /// Error function, $\frac{2}{\sqrt\pi} \int_0^x e^{-t^2} dt$.
    ERF erf(x) -> y {
        forward: x.erf(),
        partials: [x.gaussian() * FRAC_2_SQRT_PI],
        onnx: Some("Erf"),
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// Complementary error function, $1 - \mathrm{erf}(x)$, accurate in the upper tail.
    ERFC erfc(x) -> y {
        forward: x.erfc(),
        partials: [x.gaussian() * -FRAC_2_SQRT_PI],
        onnx: None,
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// Scaled complementary error function, $e^{x^2} \mathrm{erfc}(x)$, which does not underflow.
    ERFCX erfcx(x) -> y {
        forward: x.erfcx(),
        // 2xy − 2/√π, whose terms cancel for large x.
        partials: [-SQRT_2 * (y * (-SQRT_2 * x).mills_excess())],
        onnx: None,
        samples: [[1.5], [-0.25], [30.0]],
    }
    /// The number whose error function is $x$; $\pm\infty$ at $\pm 1$, where the derivative is $\infty$, NaN beyond.
    ERFINV erfinv(x) -> y {
        forward: x.erfinv(),
        // √π/2·e^(y²); where y is large, 1 − |x| = erfc |y| says more of it than y itself does.
        partials: [{
            let rest = 1.0 - x.abs();
            let tail = rest.equal(x.lit(0.0)).pick(x.lit(f64::INFINITY), y.abs().erfcx() / rest);
            x.abs().less(x.lit(0.5)).pick(y.gaussian().recip(), tail) * (0.5 * PI.sqrt())
        }],
        onnx: None,
        samples: [[0.75], [-0.25], [0.0], [0.984375]],
    }
    /// Gaussian, $e^{-x^2}$, accurate also where it is tiny.
    GAUSSIAN gaussian(x) -> y {
        forward: x.gaussian(),
        partials: [-2.0 * (x * y)],
        onnx: None,
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// Density of the normal distribution, $\varphi(x) = e^{-x^2/2}/\sqrt{2\pi}$, accurate also where it is tiny.
    NORMAL_PDF normal_pdf(x) -> y {
        forward: x.normal_pdf(),
        partials: [-(x * y)],
        onnx: None,
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// Normal distribution, $\Phi(x) = \int_{-\infty}^x \varphi(t) dt$, accurate in the lower tail.
    NDTR ndtr(x) -> y {
        forward: x.ndtr(),
        partials: [x.normal_pdf()],
        onnx: None,
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// $\ln \Phi(x)$, accurate in both tails.
    LOG_NDTR log_ndtr(x) -> y {
        forward: x.log_ndtr(),
        partials: [x.mills()],
        onnx: None,
        samples: [[1.5], [-0.25], [-30.0]],
    }
    /// Inverse Mills ratio of the lower tail, $\varphi(x)/\Phi(x)$: the derivative of $\ln \Phi$, and minus the mean of a normal variable
    /// known to be below $x$.
    MILLS mills(x) -> y {
        forward: x.mills(),
        // −y·(x + y), which is e′ − 1 with the excess e; so its derivative has no difference that would cancel in the tail.
        partials: [x.less(x.lit(0.0)).pick(x.mills_derivative(1) - 1.0, -(y * x.mills_excess()))],
        onnx: None,
        samples: [[1.5], [-0.25], [-30.0]],
    }
    /// $x + \varphi(x)/\Phi(x)$, accurate in the lower tail, where it tends to $-1/x$.
    MILLS_EXCESS mills_excess(x) -> y {
        forward: x.mills_excess(),
        partials: [x.mills_derivative(1)],
        onnx: None,
        samples: [[1.5], [-0.25], [-3.0]],
    }
    /// The number at which the normal distribution is $p$, $\Phi^{-1}(p)$; $\mp\infty$ at 0 and 1, where the derivative is $\infty$, NaN beyond.
    NDTRI ndtri(p) -> y {
        forward: p.ndtri(),
        // 1/φ(y); in the tails φ = p·φ/Φ, because p is known better than φ is from y.
        partials: [{
            let (half, zero) = (p.lit(0.5), p.lit(0.0));
            let rest = p.less(half).pick(p, 1.0 - p);
            let tail = rest.equal(zero).pick(p.lit(f64::INFINITY), (rest * p.less(half).pick(y, -y).mills()).recip());
            rest.less(p.lit(0.25)).pick(tail, y.normal_pdf().recip())
        }],
        onnx: None,
        samples: [[0.125], [0.375], [0.984375]],
    }
    /// $\ln \frac{p}{1-p}$, the inverse of the logistic function; $\mp\infty$ at 0 and 1, NaN beyond.
    LOGIT logit(p) -> y {
        // Near ½ the quotient is near 1; 2p − 1 is exact there.
        forward: {
            let middle = p.lit(0.25).is_less(p) * p.is_less(p.lit(0.75));
            middle.pick(((2.0 * p - 1.0) / (1.0 - p)).ln_1p(), (p / (1.0 - p)).ln())
        },
        partials: [(p * (1.0 - p)).recip()],
        onnx: None,
        samples: [[0.125], [0.375], [0.984375]],
    }
    /// $\ln |\Gamma(x)|$; $\infty$ at 0 and at negative whole numbers.
    LGAMMA lgamma(x) -> y {
        forward: x.lgamma(),
        partials: [x.digamma()],
        onnx: None,
        samples: [[1.5], [0.25], [30.0], [-1.5]],
    }
    /// $\psi(x)$, the derivative of $\ln \Gamma$; $-\infty$ at 0, NaN at negative whole numbers.
    DIGAMMA digamma(x) -> y {
        forward: x.digamma(),
        partials: [x.polygamma(1)],
        onnx: None,
        samples: [[1.5], [0.25], [30.0], [-1.25]],
    }
    /// Modified Bessel function of the first kind of order 0, $I_0(x)$.
    I0 i0(x) -> y {
        forward: x.bessel_i(x.lit(0.0)),
        partials: [x.bessel_i(1)],
        onnx: None,
        samples: [[1.5], [-0.25], [30.0]],
    }
    /// Modified Bessel function of the first kind of order 1, $I_1(x)$.
    I1 i1(x) -> y {
        forward: x.bessel_i(x.lit(1.0)),
        partials: [0.5 * (x.bessel_i(0) + x.bessel_i(2))],
        onnx: None,
        samples: [[1.5], [-0.25], [30.0]],
    }
}
