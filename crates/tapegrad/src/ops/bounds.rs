//! Choosing among numbers, and mixing them.

use super::Real;
use crate::elementwise;
use crate::num::Num;

elementwise! {
    inherent;
    /// Choosing among numbers, and mixing them; see [`Real`].
    pub trait Bounds;

    /// The larger of two numbers; NaN if either is (unlike `max`). At a tie each side has derivative ½.
    MAXIMUM maximum(a, b) -> y {
        forward: a.is_equal(a).pick(b.is_equal(b).pick(a.max(b), b), a),
        partials: [
            a.equal(b).pick(a.lit(0.5), a.greater(b)),
            a.equal(b).pick(a.lit(0.5), b.greater(a))
        ],
        onnx: None,
        samples: [[1.5, -2.0], [0.5, 3.0]],
    }
    /// The smaller of two numbers; NaN if either is (unlike `min`). At a tie each side has derivative ½.
    MINIMUM minimum(a, b) -> y {
        forward: a.is_equal(a).pick(b.is_equal(b).pick(a.min(b), b), a),
        partials: [
            a.equal(b).pick(a.lit(0.5), a.less(b)),
            a.equal(b).pick(a.lit(0.5), b.less(a))
        ],
        onnx: None,
        samples: [[1.5, -2.0], [0.5, 3.0]],
    }
    /// $x$, but not below `low` and not above `high` (which wins where the two are crossed); NaN stays NaN, and is no bound. At a bound the
    /// derivative by $x$ is 1, and that by the bound 0.
    CLAMP clamp(x, low, high) -> y {
        forward: {
            let raised = x.is_less(low).pick(low, x);
            high.is_less(raised).pick(high, raised)
        },
        partials: [
            // As the value is chosen, so that bounds that are NaN bound nothing here either.
            high.less(low).pick(x.lit(0.0), x.equal(y)),
            high.less(low).pick(x.lit(0.0), x.less(low)),
            high.less(x.less(low).pick(low, x))
        ],
        onnx: Some("Clip"),
        samples: [[0.5, -1.0, 2.0], [-1.5, -1.0, 2.0], [2.5, -1.0, 2.0]],
    }
    /// The size of $a$ with the sign of $b$, also of a zero. At $a = 0$ the derivative is 0; by $b$ it is 0 everywhere.
    COPYSIGN copysign(a, b) -> y {
        forward: a.copysign(b),
        partials: [a.sign() * y.sign(), b.lit(0.0)],
        onnx: None,
        samples: [[1.5, -2.0], [-1.5, -2.0], [0.5, 3.0]],
    }
    /// Linear interpolation, $a + w(b - a)$; exactly $a$ at $w = 0$ and exactly $b$ at $w = 1$.
    LERP lerp(a, b, w) -> y {
        forward: w.is_less(w.lit(0.5)).pick(a + w * (b - a), b - (1.0 - w) * (b - a)),
        partials: [1.0 - w, w, b - a],
        onnx: None,
        samples: [[1.5, -2.0, 0.25], [0.5, 3.0, 0.75]],
    }
}
