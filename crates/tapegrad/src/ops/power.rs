//! `powi`: a whole exponent, fixed when recorded. It is an attribute of the node, handed to the kernel after the operand.

use super::attributes;
use crate::ir::{Attrs, Elementwise, Kernel, LeafValue, OpDef, Rule, RuleArgs, Sample, Tensor, Var, infer_elementwise};
use crate::num::{Float, Formula, LaneFn, Lanes, Num, for_each_lane};

/// The largest exponent: kernels are handed it as a number of theirs, and single precision has all whole numbers up to here.
const LARGEST: i32 = 1 << 24;

/// Power with a whole exponent, $x^n$, by repeated multiplication. With $n = 0$ the value is 1 and the derivative 0
/// everywhere, also at $x = 0$. The exponent is at most $2^{24}$ in absolute value; [`Var::powi`] takes any.
pub static POWI: OpDef = OpDef {
    name: "powi",
    doc: "Power with a whole exponent, $x^n$, by repeated multiplication. With $n = 0$ the value is 1 and the derivative 0 \
          everywhere, also at $x = 0$. The exponent is at most $2^{24}$ in absolute value; [`powi`](crate::Var::powi) takes any.\n",
    args: &["x"],
    variadic: false,
    onnx: Some("Pow"),
    infer: |operands, attrs| {
        attributes::whole_number(attrs, -f64::from(LARGEST)..=f64::from(LARGEST))?;
        infer_elementwise(operands, attrs)
    },
    rule: Rule::Custom {
        vjp: |args, _, ct| times_partial(args, ct),
        jvp: |args, tangents| times_partial(args, tangents[0].expect("the only operand has a tangent")),
    },
    masks: false,
    kernel: Kernel::Elementwise(&Elementwise {
        scalar_f32: scalar::<f32>,
        scalar_f64: scalar::<f64>,
        tile_f32: tile::<f32>,
        tile_f64: tile::<f64>,
        formula: || Formula::trace(2, |args| args[0].to_whole_power(args[1])),
        partials: &[
            |x, _| match whole(x[1]) {
                0 => 0.0,
                n => x[1] * x[0].powi(n - 1),
            },
            |_, _| 0.0,
        ],
    }),
    samples: || {
        let sample =
            |(x, n): (f64, f64)| Sample { inputs: vec![LeafValue::Real(Tensor::from(x))], attrs: Attrs::Scalar(n) };
        [(1.5, 3.0), (-0.5, 2.0), (2.0, -2.0), (-3.0, 0.0), (0.0, 1.0)].map(sample).to_vec()
    },
};

/// A cotangent or tangent times n·x^(n−1). For n = 0 it is the number 0, not a product, which would be NaN where the other factor is infinite.
fn times_partial(args: &RuleArgs<'_>, slope: Var) -> Var {
    let (x, n) = (args.inputs[0], exponent(args.attrs));
    let partial = match n {
        0 => return x.lit(0.0),
        1 => x.lit(1.0),
        2 => 2.0 * x,
        _ => f64::from(n) * x.powi(n - 1),
    };
    args.times(slope, partial)
}

fn exponent(attrs: &Attrs) -> i32 {
    whole(attribute(attrs))
}

/// The number that is handed to the kernel after the operand.
pub(super) fn attribute(attrs: &Attrs) -> f64 {
    match attrs {
        Attrs::Scalar(n) => *n,
        _ => unreachable!("recorded with a number"),
    }
}

#[allow(clippy::cast_possible_truncation)] // it was made from an i32
fn whole(n: f64) -> i32 {
    n as i32
}

fn scalar<T: Float>(x: T, n: T, _: T) -> T {
    x.powi(whole(n.to_f64()))
}

fn tile<T: Float>(out: &mut [T], operands: [&[T]; 3]) {
    // The exponent is one number for the whole tile.
    let n = operands[1].first().map_or(0, |n| whole(n.to_f64()));
    for_each_lane(Power(n), out, operands);
}

#[derive(Clone, Copy)]
struct Power(i32);

impl LaneFn for Power {
    #[inline(always)]
    fn eval<T: Float, const FMA: bool>(self, [x, ..]: [Lanes<T, 1, FMA>; 3]) -> Lanes<T, 1, FMA> {
        x.powi(self.0)
    }
}

impl Var {
    /// Power with a whole exponent, $x^n$, by repeated multiplication. With $n = 0$ the value is 1 and the derivative 0
    /// everywhere, also at $x = 0$.
    #[must_use]
    #[track_caller]
    pub fn powi(self, n: i32) -> Var {
        if n.unsigned_abs() > LARGEST.unsigned_abs() {
            let even = self.powi(n / 2).square();
            return if n % 2 == 0 { even } else { even * self.powi(n % 2) };
        }
        Var::record(&POWI, &[self], Attrs::Scalar(f64::from(n)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::Tape;

    #[test]
    fn the_power_0_has_no_influence_where_a_slope_is_infinite() {
        let tape = Tape::new();
        let (x, row) = (tape.input(0.0), tape.input([0.0, 4.0]));
        let (y, wide) = (x.sqrt().powi(0) + x, row.sqrt().powi(0) + row);
        assert_eq!(tape.grad(y, &[x])[0].item(), 1.0);
        assert_eq!(tape.jvp(&[y], &[x], &[tape.constant(1.0)])[0].item(), 1.0);
        assert_eq!(tape.grad(wide.sum(), &[row])[0].value().data(), &[1.0, 1.0]);
        assert_eq!(tape.jvp(&[wide], &[row], &[tape.constant([1.0, 2.0])])[0].value().data(), &[1.0, 2.0]);
    }
}
