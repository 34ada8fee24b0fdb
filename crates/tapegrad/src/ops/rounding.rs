//! Rounding and remainders. What only jumps has derivative 0.

use super::Real;
use crate::elementwise;
use crate::num::Num;

elementwise! {
    inherent;
    /// Rounding and remainders; see [`Real`].
    pub trait Rounding;

    /// The smallest whole number not below $x$. The derivative is 0.
    CEIL ceil(x) -> y {
        forward: -(-x).floor(),
        partials: [x.lit(0.0)],
        onnx: Some("Ceil"),
        samples: [[1.5], [-0.25]],
    }
    /// The whole number next to $x$ towards 0. The derivative is 0.
    TRUNC trunc(x) -> y {
        forward: x.is_less(x.lit(0.0)).pick(-(-x).floor(), x.floor()),
        partials: [x.lit(0.0)],
        onnx: None,
        samples: [[1.5], [-0.25], [-2.75]],
    }
    /// The nearest whole number; halves go away from 0. The derivative is 0.
    ROUND round(x) -> y {
        // What is beyond the whole part is exact; adding ½ first is not.
        forward: {
            let whole = x.trunc();
            x.lit(0.5).is_less_equal((x - whole).abs()).pick(whole + x.sign(), whole)
        },
        partials: [x.lit(0.0)],
        onnx: None,
        samples: [[1.75], [-0.25], [2.25]],
    }
    /// The nearest whole number; halves go to the even one, as `torch.round` and NumPy do. The derivative is 0.
    ROUND_TIES_EVEN round_ties_even(x) -> y {
        forward: {
            let (size, half) = (x.abs(), x.lit(0.5));
            let whole = size.floor();
            let rest = size - whole;
            let odd = whole - 2.0 * (whole * 0.5).floor();
            let up = half.is_less(rest) + half.is_equal(rest) * odd;
            up.pick(whole + 1.0, whole).copysign(x)
        },
        partials: [x.lit(0.0)],
        onnx: Some("Round"),
        samples: [[1.75], [-0.25], [2.25]],
    }
    /// What is left of $x$ beyond its whole part, with the sign of $x$. The derivative is 1.
    FRACT fract(x) -> y {
        forward: x - x.trunc(),
        partials: [x.lit(1.0)],
        onnx: None,
        samples: [[1.5], [-0.25], [-2.75]],
    }
    /// What is left of $a/b$ after a whole number of $b$, with the sign of $a$: the operator `%`, exact. The derivative by $b$ is minus
    /// that whole number.
    FMOD fmod(a, b) -> y {
        forward: a.fmod(b),
        // (a − y)/b is whole but for its rounding.
        partials: [a.lit(1.0), -(((a - y) / b).round())],
        onnx: None,
        samples: [[7.5, 2.0], [-7.5, 2.0], [0.5, -3.0]],
    }
    /// What is left of $a/b$ after a whole number of $b$, with the sign of $b$, also of a zero, as Python's `%`. The derivative
    /// by $b$ is minus that whole number.
    REMAINDER remainder(a, b) -> y {
        forward: {
            let rest = a.fmod(b);
            let zero = a.lit(0.0);
            // Comparisons, as the product of the two may underflow.
            let apart = rest.is_less(zero) * zero.is_less(b) + zero.is_less(rest) * b.is_less(zero);
            rest.is_equal(zero).pick(rest.copysign(b), apart.pick(rest + b, rest))
        },
        partials: [a.lit(1.0), -(((a - y) / b).round())],
        onnx: None,
        samples: [[7.5, 2.0], [-7.5, 2.0], [0.5, -3.0]],
    }
}
