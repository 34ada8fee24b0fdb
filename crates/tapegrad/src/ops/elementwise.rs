//! The elementwise operations.
//!
//! Forward formulas and partial derivatives are written so that both keep full relative accuracy where a naive form
//! would cancel or overflow; the comment beside a formula says why it has the form it has.

use super::{Activation, Bounds, Orders, Powers, Rounding, Special, Trigonometry};
use crate::elementwise;
use crate::num::Num;

elementwise! {
    inherent;
    /// Real-valued functions of real arguments, one text for plain `f64`, forward duals ([`Dual`]), SIMD
    /// lanes, traced formulas and recorded [`Var`]s.
    ///
    /// Write a function once over `R: Real` and run it on numbers, or record it. Other families of functions are traits of their own, which
    /// come with this bound.
    ///
    /// [`Var`]: crate::Var
    /// [`Dual`]: crate::Dual
    pub trait Real: Activation + Bounds + Orders + Powers + Rounding + Special + Trigonometry;

    /// Sum.
    ADD add(a, b) -> y {
        forward: a + b,
        partials: [a.lit(1.0), b.lit(1.0)],
        onnx: Some("Add"),
        samples: [[1.5, -2.0], [0.0, 3.0]],
    }
    /// Difference.
    SUB sub(a, b) -> y {
        forward: a - b,
        partials: [a.lit(1.0), b.lit(-1.0)],
        onnx: Some("Sub"),
        samples: [[1.5, -2.0], [0.0, 3.0]],
    }
    /// Product.
    MUL mul(a, b) -> y {
        forward: a * b,
        partials: [b, a],
        onnx: Some("Mul"),
        samples: [[1.5, -2.0], [0.5, 3.0]],
    }
    /// Quotient.
    DIV div(a, b) -> y {
        forward: a / b,
        partials: [b.recip(), -(y / b)],
        onnx: Some("Div"),
        samples: [[1.5, -2.0], [0.5, 3.0]],
    }
    /// Negation.
    NEG neg(x) -> y {
        forward: -x,
        partials: [x.lit(-1.0)],
        onnx: Some("Neg"),
        samples: [[1.5], [-2.0]],
    }
    /// Reciprocal, $1/x$.
    RECIP recip(x) -> y {
        forward: 1.0 / x,
        partials: [-(y * y)],
        onnx: Some("Reciprocal"),
        samples: [[1.5], [-0.25]],
    }
    /// Square, $x^2$.
    SQUARE square(x) -> y {
        forward: x * x,
        partials: [2.0 * x],
        onnx: None,
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// Square root; the derivative at 0 is $\infty$.
    SQRT sqrt(x) -> y {
        forward: x.sqrt(),
        partials: [0.5 / y],
        onnx: Some("Sqrt"),
        samples: [[1.5], [0.01], [400.0]],
    }
    /// Power with a real exponent, $x^p$; for a constant whole exponent use [`powi`](crate::Var::powi). With $p = 0$ the derivative by $x$
    /// is 0 everywhere, also at $x = 0$; with $x = 0$ and $p \ge 0$ the derivative by $p$ is 0.
    POWF powf(x, p) -> y {
        forward: x.powf(p),
        partials: [
            {
                // p·x^(p−1), but 0·∞ at x = 0, p = 0 means 0: x⁰ is the constant 1. Elsewhere p stays in it, for the derivative by p is 1/x. (So
                // near 0 that the next derivatives overflow, it is left out.)
                let slope = p * x.powf(p - 1.0);
                p.equal(p.lit(0.0)).pick(x.abs().greater(x.lit(1e-30)).pick(slope, p.lit(0.0)), slope)
            },
            // x^p·ln x tends to 0 as x → 0 for p > 0; the product itself would be 0·(−∞).
            (x.equal(x.lit(0.0)) * p.greater_equal(p.lit(0.0))).pick(x.lit(0.0), y * x.ln())
        ],
        onnx: Some("Pow"),
        samples: [[1.5, -2.5], [0.5, 3.0], [2.0, 0.5]],
        tile: crate::num::powf_tile,
    }
    /// Exponential, $e^x$.
    EXP exp(x) -> y {
        forward: x.exp(),
        partials: [y],
        onnx: Some("Exp"),
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// $e^x - 1$, accurate near 0.
    EXP_M1 exp_m1(x) -> y {
        forward: x.exp_m1(),
        partials: [x.exp()],
        onnx: None,
        samples: [[1.5], [-0.25], [1e-9]],
    }
    /// Natural logarithm.
    LN ln(x) -> y {
        forward: x.ln(),
        partials: [x.recip()],
        onnx: Some("Log"),
        samples: [[1.5], [0.01], [400.0]],
    }
    /// $\ln(1 + x)$, accurate near 0.
    LN_1P ln_1p(x) -> y {
        forward: x.ln_1p(),
        partials: [(x + 1.0).recip()],
        onnx: None,
        samples: [[1.5], [-0.25], [1e-9]],
    }
    /// Sine of an angle in radians.
    SIN sin(x) -> y {
        forward: x.sin(),
        partials: [x.cos()],
        onnx: Some("Sin"),
        samples: [[1.5], [-0.25], [0.0]],
        tile: crate::num::sin_tile,
    }
    /// Cosine of an angle in radians.
    COS cos(x) -> y {
        forward: x.cos(),
        partials: [-x.sin()],
        onnx: Some("Cos"),
        samples: [[1.5], [-0.25], [0.0]],
        tile: crate::num::cos_tile,
    }
    /// Tangent of an angle in radians.
    TAN tan(x) -> y {
        forward: x.tan(),
        // 1 + tan² has no cancellation; 1/cos² would square the rounding of cos near its zero.
        partials: [y * y + 1.0],
        onnx: Some("Tan"),
        samples: [[1.2], [-0.25], [0.0]],
    }
    /// Hyperbolic tangent.
    TANH tanh(x) -> y {
        forward: x.tanh(),
        partials: [x.dtanh()],
        onnx: Some("Tanh"),
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// Derivative of the hyperbolic tangent, $\mathrm{sech}^2(x)$, accurate in both tails, where $1 - \tanh^2 x$ gives 0.
    DTANH dtanh(x) -> y {
        forward: x.tanh_slope(),
        partials: [-2.0 * (x.tanh() * y)],
        onnx: None,
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// Logistic function, $\sigma(x) = 1/(1+e^{-x})$.
    SIGMOID sigmoid(x) -> y {
        forward: x.logistic(),
        partials: [x.dsigmoid()],
        onnx: Some("Sigmoid"),
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// Derivative of the logistic function, $\sigma'(x) = e/(1+e)^2$ with $e = e^{-|x|}$: the density of the logistic
    /// distribution, accurate in both tails, where $\sigma(1-\sigma)$ gives 0.
    DSIGMOID dsigmoid(x) -> y {
        forward: x.logistic_slope(),
        // σ'' = σ'·(1 − 2σ) = −σ'·tanh(x/2), the latter without cancellation.
        partials: [-(y * (0.5 * x).tanh())],
        onnx: None,
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// $\ln(1 + e^x)$, without overflow.
    SOFTPLUS softplus(x) -> y {
        forward: x.softplus(),
        partials: [x.sigmoid()],
        onnx: Some("Softplus"),
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// The positive part of $x$; NaN stays NaN; the derivative at 0 is 0.
    RELU relu(x) -> y {
        forward: x.is_less_equal(x.lit(0.0)).pick(x.lit(0.0), x),
        partials: [x.greater(x.lit(0.0))],
        onnx: Some("Relu"),
        samples: [[1.5], [-0.25]],
    }
    /// Absolute value; the derivative at 0 is 0.
    ABS abs(x) -> y {
        forward: x.abs(),
        partials: [x.sign()],
        onnx: Some("Abs"),
        samples: [[1.5], [-0.25]],
    }
    /// −1, 0 or 1 by the sign of $x$; 0 for NaN and for zeros of either sign. The derivative is 0.
    SIGN sign(x) -> y {
        forward: x.lit(0.0).is_less(x) - x.is_less(x.lit(0.0)),
        partials: [x.lit(0.0)],
        onnx: Some("Sign"),
        samples: [[1.5], [-0.25]],
    }
    /// The largest whole number not above $x$. The derivative is 0.
    FLOOR floor(x) -> y {
        forward: x.floor(),
        partials: [x.lit(0.0)],
        onnx: Some("Floor"),
        samples: [[1.5], [-0.25]],
    }
    /// The smaller of two numbers; of a number and NaN, the number, and so the derivative. At a tie each side has derivative ½.
    MIN min(a, b) -> y {
        forward: a.min(b),
        partials: [
            a.equal(b).pick(a.lit(0.5), a.equal(y)),
            a.equal(b).pick(a.lit(0.5), b.equal(y))
        ],
        onnx: Some("Min"),
        samples: [[1.5, -2.0], [0.5, 3.0]],
    }
    /// The larger of two numbers; of a number and NaN, the number, and so the derivative. At a tie each side has derivative ½.
    MAX max(a, b) -> y {
        forward: a.max(b),
        partials: [
            a.equal(b).pick(a.lit(0.5), a.equal(y)),
            a.equal(b).pick(a.lit(0.5), b.equal(y))
        ],
        onnx: Some("Max"),
        samples: [[1.5, -2.0], [0.5, 3.0]],
    }
    /// 1 where $a < b$, else 0. The derivative is 0.
    LESS less(a, b) -> y {
        forward: a.is_less(b),
        partials: [a.lit(0.0), b.lit(0.0)],
        onnx: Some("Less"),
        samples: [[1.5, -2.0], [0.5, 3.0]],
    }
    /// 1 where $a \le b$, else 0. The derivative is 0.
    LESS_EQUAL less_equal(a, b) -> y {
        forward: a.is_less_equal(b),
        partials: [a.lit(0.0), b.lit(0.0)],
        onnx: Some("LessOrEqual"),
        samples: [[1.5, -2.0], [0.5, 3.0]],
    }
    /// 1 where $a > b$, else 0. The derivative is 0.
    GREATER greater(a, b) -> y {
        forward: b.is_less(a),
        partials: [a.lit(0.0), b.lit(0.0)],
        onnx: Some("Greater"),
        samples: [[1.5, -2.0], [0.5, 3.0]],
    }
    /// 1 where $a \ge b$, else 0. The derivative is 0.
    GREATER_EQUAL greater_equal(a, b) -> y {
        forward: b.is_less_equal(a),
        partials: [a.lit(0.0), b.lit(0.0)],
        onnx: Some("GreaterOrEqual"),
        samples: [[1.5, -2.0], [0.5, 3.0]],
    }
    /// 1 where $a = b$, else 0. The derivative is 0.
    EQUAL equal(a, b) -> y {
        forward: a.is_equal(b),
        partials: [a.lit(0.0), b.lit(0.0)],
        onnx: Some("Equal"),
        samples: [[1.5, -2.0], [3.0, 3.0]],
    }
    /// 1 where $a \ne b$ (also where either is NaN), else 0. The derivative is 0.
    NOT_EQUAL not_equal(a, b) -> y {
        forward: 1.0 - a.is_equal(b),
        partials: [a.lit(0.0), b.lit(0.0)],
        onnx: None,
        samples: [[1.5, -2.0], [3.0, 3.0]],
    }
    /// $x$ itself, with derivative 0: what is computed from it does not pull on what it is computed from.
    STOP_GRADIENT stop_gradient(x) -> y {
        forward: x,
        partials: [x.lit(0.0)],
        onnx: Some("Identity"),
        samples: [[1.5]],
    }
}
