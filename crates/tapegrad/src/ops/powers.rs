//! Roots, exponentials and logarithms beyond the first few.

use super::Real;
use crate::elementwise;
use crate::num::Num;
use std::f64::consts::{LN_2, LN_10, LOG2_E};

elementwise! {
    inherent;
    /// Roots, exponentials and logarithms beyond the first few; see [`Real`].
    pub trait Powers;

    /// Reciprocal square root, $1/\sqrt{x}$.
    RSQRT rsqrt(x) -> y {
        forward: 1.0 / x.sqrt(),
        partials: [-0.5 * (y / x)],
        onnx: None,
        samples: [[1.5], [0.01], [400.0]],
    }
    /// Cube root, also of negative numbers; the derivative at 0 is $\infty$.
    CBRT cbrt(x) -> y {
        forward: x.cbrt(),
        partials: [(3.0 * (y * y)).recip()],
        onnx: None,
        samples: [[1.5], [-0.01], [400.0]],
    }
    /// $\sqrt{a^2 + b^2}$ without overflow. At $(0, 0)$, where no derivative exists, both are 0.
    HYPOT hypot(a, b) -> y {
        forward: a.hypot(b),
        partials: [
            a.direction(b),
            b.direction(a)
        ],
        onnx: None,
        samples: [[3.0, 4.0], [-1.5, 0.5]],
    }
    /// $a/\sqrt{a^2 + b^2}$, the cosine of the angle between the point $(a, b)$ and the axis of $a$. At $(0, 0)$ it is 0, and so are
    /// its derivatives.
    DIRECTION direction(a, b) -> y {
        forward: {
            let length = a.hypot(b);
            length.is_equal(length.lit(0.0)).pick(length.lit(0.0), a / length)
        },
        // b²/r³, where 1/r − a²/r³ would cancel.
        partials: [
            a.hypot(b).equal(a.lit(0.0)).pick(a.lit(0.0), b.direction(a).square() / a.hypot(b)),
            a.hypot(b).equal(a.lit(0.0)).pick(a.lit(0.0), -(y * b.direction(a) / a.hypot(b)))
        ],
        onnx: None,
        samples: [[3.0, 4.0], [-1.5, 0.5]],
    }
    /// $2^x$.
    EXP2 exp2(x) -> y {
        forward: x.exp2(),
        partials: [y * LN_2],
        onnx: None,
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// Logarithm to base 2.
    LOG2 log2(x) -> y {
        forward: x.log2(),
        partials: [(x * LN_2).recip()],
        onnx: None,
        samples: [[1.5], [0.01], [400.0]],
    }
    /// Logarithm to base 10.
    LOG10 log10(x) -> y {
        forward: x.log10(),
        partials: [(x * LN_10).recip()],
        onnx: None,
        samples: [[1.5], [0.01], [400.0]],
    }
    /// $\ln(e^a + e^b)$, without overflow. Where both are the same infinity, each derivative is ½.
    LOGADDEXP logaddexp(a, b) -> y {
        forward: a.is_equal(b).pick(a + LN_2, a.max(b) + (-(a - b).abs()).softplus()),
        partials: [
            (a.equal(b) * (a - b).not_equal(a - b)).pick(a.lit(0.5), (a - b).sigmoid()),
            (a.equal(b) * (b - a).not_equal(b - a)).pick(a.lit(0.5), (b - a).sigmoid())
        ],
        onnx: None,
        samples: [[1.5, -2.0], [0.5, 3.0], [1.5, 1.5]],
    }
    /// $\log_2(2^a + 2^b)$, without overflow. Where both are the same infinity, each derivative is ½.
    LOGADDEXP2 logaddexp2(a, b) -> y {
        forward: a.is_equal(b).pick(a + 1.0, a.max(b) + (-LN_2 * (a - b).abs()).softplus() * LOG2_E),
        partials: [
            (a.equal(b) * (a - b).not_equal(a - b)).pick(a.lit(0.5), (LN_2 * (a - b)).sigmoid()),
            (a.equal(b) * (b - a).not_equal(b - a)).pick(a.lit(0.5), (LN_2 * (b - a)).sigmoid())
        ],
        onnx: None,
        samples: [[1.5, -2.0], [0.5, 3.0], [1.5, 1.5]],
    }
    /// $x \ln y$, which is 0 at $x = 0$ whatever $y$ is, unless it is NaN. There the derivative by $x$ is $\ln y$ for positive
    /// $y$ and otherwise 0; by $y$ it is $x/y$, but 0 at $(0, 0)$.
    XLOGY xlogy(x, y) -> z {
        forward: (x.is_equal(x.lit(0.0)) * y.is_equal(y)).pick(x.lit(0.0), x * y.ln()),
        partials: [
            (x.equal(x.lit(0.0)) * y.less_equal(y.lit(0.0))).pick(x.lit(0.0), y.ln()),
            (x.equal(x.lit(0.0)) * y.equal(y.lit(0.0))).pick(x.lit(0.0), x / y)
        ],
        onnx: None,
        samples: [[1.5, 2.0], [-0.5, 3.0], [0.0, 0.25]],
    }
    /// $x \ln(1 + y)$, which is 0 at $x = 0$ whatever $y$ is, unless it is NaN. There the derivative by $x$ is $\ln(1 + y)$ for
    /// $y > -1$ and otherwise 0; by $y$ it is $x/(1 + y)$, but 0 at $(0, -1)$.
    XLOG1PY xlog1py(x, y) -> z {
        forward: (x.is_equal(x.lit(0.0)) * y.is_equal(y)).pick(x.lit(0.0), x * y.ln_1p()),
        partials: [
            (x.equal(x.lit(0.0)) * y.less_equal(y.lit(-1.0))).pick(x.lit(0.0), y.ln_1p()),
            (x.equal(x.lit(0.0)) * y.equal(y.lit(-1.0))).pick(x.lit(0.0), x / (y + 1.0))
        ],
        onnx: None,
        samples: [[1.5, 2.0], [-0.5, 3.0], [0.0, 0.25]],
    }
}
