//! Derivatives of recorded functions against differences of their replayed values.
//!
//! ```text
//!   subject ── a function, its derivative as recorded, and by differences ──▶ search ── one direction; if wrong, which element
//!                                                                              ├──▶ cause ── what it looks like
//!                                                                              └──▶ culprit ── which operation
//! ```

mod cause;
mod culprit;
mod options;
mod random;
mod report;
mod search;
mod subject;

pub use cause::Cause;
pub use options::GradcheckOptions;
pub use report::{GradcheckError, Mismatch};

use crate::{Tape, Tensor, Var};
use report::{Kind, Which};
use subject::Recorded;

/// Checks the gradient of `f` at `inputs`, by reverse mode, against differences of its values.
///
/// `f` is recorded once, on the tape it is handed, with the inputs as its arguments, of any shapes; the program of its value is then
/// replayed around `inputs`. A result that is not a scalar is first multiplied by fixed random numbers and added up. Arguments that `f`
/// names (`x[0].named("w")`) are called so in errors.
///
/// The default is one random direction through all inputs: about 25 replays, whatever their size. Only where that fails are elements
/// looked at one by one, to say which is wrong, what the error looks like ([`Cause`]) and which operation it comes from.
///
/// # Errors
/// If a derivative differs by more than the tolerances; the error names the input, the element, what was expected and
/// what was found. Also if the differences do not settle, because of a kink nearby, if a recorded comparison changes, or if what `f`
/// recorded cannot be differentiated or compiled.
///
/// # Panics
/// If `f` panics: recording mistakes are reported that way.
///
/// ```
/// use tapegrad::Tensor;
/// use tapegrad::check::{Cause, GradcheckOptions, gradcheck};
///
/// let inputs = [Tensor::from([0.5, -1.5]), Tensor::from(2.0)];
/// gradcheck(|_, x| (x[0].tanh() * x[1]).sum(), &inputs, GradcheckOptions::default())?;
///
/// // The derivative of something else: the value is x², the gradient that of ½x².
/// let wrong = gradcheck(
///     |_, x| x[0].named("x") * x[0].stop_gradient(),
///     &[Tensor::from(3.0)],
///     GradcheckOptions::default(),
/// );
/// let error = wrong.unwrap_err();
/// assert!(error.to_string().starts_with("wrong derivative by `x` (input 0)"), "{error}");
/// assert_eq!(error.mismatch().unwrap().cause, Cause::Factor { factor: 0.5, size: None });
/// # Ok::<(), tapegrad::check::GradcheckError>(())
/// ```
pub fn gradcheck(
    f: impl FnOnce(&Tape, &[Var]) -> Var,
    inputs: &[Tensor],
    options: GradcheckOptions,
) -> Result<(), GradcheckError> {
    check(Which { order: 1, forward: false }, || Recorded::new(f, inputs, options)).map(drop)
}

/// Checks how the values of `f` move with its inputs, by forward mode, against differences; otherwise as [`gradcheck`].
///
/// # Errors
/// As [`gradcheck`].
///
/// # Panics
/// As [`gradcheck`].
///
/// ```
/// use tapegrad::Tensor;
/// use tapegrad::check::{GradcheckOptions, jvp_check};
///
/// let inputs = [Tensor::from([[0.5, -1.5], [1.0, 0.25]]), Tensor::from([2.0, -1.0])];
/// jvp_check(|_, x| x[0].matmul(x[1]).exp(), &inputs, GradcheckOptions::default())?;
/// # Ok::<(), tapegrad::check::GradcheckError>(())
/// ```
pub fn jvp_check(
    f: impl FnOnce(&Tape, &[Var]) -> Var,
    inputs: &[Tensor],
    options: GradcheckOptions,
) -> Result<(), GradcheckError> {
    check(Which { order: 1, forward: true }, || Recorded::new(f, inputs, options)).map(drop)
}

/// Checks second derivatives of `f`: those of its gradient along a random direction, by reverse and by forward mode, against differences
/// of gradients; otherwise as [`gradcheck`], which is done first, so that no wrong gradient is taken for granted.
///
/// # Errors
/// As [`gradcheck`].
///
/// # Panics
/// As [`gradcheck`].
///
/// ```
/// use tapegrad::Tensor;
/// use tapegrad::check::{GradcheckOptions, gradgradcheck};
///
/// let inputs = [Tensor::from([0.5, -1.5]), Tensor::from([2.0, -1.0])];
/// gradgradcheck(|_, x| (x[0] * x[1]).sin(), &inputs, GradcheckOptions::default())?;
/// # Ok::<(), tapegrad::check::GradcheckError>(())
/// ```
pub fn gradgradcheck(
    f: impl FnOnce(&Tape, &[Var]) -> Var,
    inputs: &[Tensor],
    options: GradcheckOptions,
) -> Result<(), GradcheckError> {
    let first = check(Which { order: 1, forward: false }, || Recorded::new(f, inputs, options))?;
    let second = check(Which { order: 2, forward: false }, || first.slope())?;
    check(Which { order: 2, forward: true }, || Ok(second)).map(drop)
}

/// Checks one derivative of a recorded function, and hands it back.
fn check(which: Which, record: impl FnOnce() -> Result<Recorded, Kind>) -> Result<Recorded, GradcheckError> {
    let checked = || {
        let mut recorded = record()?;
        recorded.subject(which)?.check(which)?;
        Ok(recorded)
    };
    checked().map_err(|kind| GradcheckError { which, kind })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn each() -> GradcheckOptions {
        GradcheckOptions::default().every_element(true)
    }

    #[test]
    fn right_gradients_pass_in_both_ways() {
        let inputs = [Tensor::from([[0.3, -0.7], [1.1, 0.2]]), Tensor::from([0.5, -0.4])];
        for options in [GradcheckOptions::default(), each(), GradcheckOptions::default().seed(7)] {
            gradcheck(|_, x| (x[0].matmul(x[1]).tanh() * x[1]).exp(), &inputs, options).unwrap();
        }
    }

    #[test]
    fn second_derivatives_are_checked_by_returning_a_gradient() {
        gradcheck(|tape, x| tape.grad((x[0].sin() * x[0]).sum(), x)[0], &[Tensor::from([0.4, 1.3])], each()).unwrap();
    }

    #[test]
    fn the_worst_element_is_named() {
        // Row 1 of the gradient is too large by its own value.
        let wrong = |_: &Tape, x: &[Var]| {
            let row = x[1].slice(0, 1..2);
            (x[0] * x[1].sum()).sum() + (row * row - row.square().stop_gradient()).sum()
        };
        let inputs = [Tensor::from(2.0), Tensor::from([[1.0, 2.0], [0.25, 4.0]])];
        for options in [GradcheckOptions::default(), each()] {
            let error = gradcheck(wrong, &inputs, options).unwrap_err();
            let mismatch = error.mismatch().unwrap();
            assert_eq!((mismatch.input, &mismatch.element[..]), (1, &[1, 1][..]), "{error}");
            assert!((mismatch.expected - 2.0).abs() < 1e-6 && (mismatch.got - 10.0).abs() < 1e-6, "{error}");
        }
    }

    #[test]
    fn a_gradient_that_is_nan_is_wrong() {
        // The value is finite, the derivative ∞ - ∞.
        let error = gradcheck(|_, x| (x[0] - x[0]).sqrt() + x[0], &[Tensor::from(1.0)], each()).unwrap_err();
        assert!(error.mismatch().is_some_and(|m| m.got.is_nan()), "{error}");
    }

    #[test]
    fn kinks_and_branches_are_not_called_wrong() {
        let error = gradcheck(|_, x| x[0].relu(), &[Tensor::from(0.0)], each()).unwrap_err();
        assert!(error.mismatch().is_none() && error.to_string().contains("do not settle"), "{error}");
        let branch = |_: &Tape, x: &[Var]| if x[0] > 1.0 { x[0] } else { -x[0] };
        gradcheck(branch, &[Tensor::from(1.005)], each()).unwrap();
        let error = gradcheck(branch, &[Tensor::from(1.0)], each()).unwrap_err().to_string();
        assert!(error.starts_with("branch at "), "{error}");
    }

    #[test]
    fn differences_that_drown_in_rounding_say_nothing() {
        let cases: [(fn(&Tape, &[Var]) -> Var, f64); 4] = [
            (|_, x| x[0] * 1e-6 + 1e9, 1.0),
            (|_, x| x[0] * 1.0, 1e16),
            (|_, x| x[0] - 1e16, 1e16),
            (|_, x| x[0] + 1e17, 1.0),
        ];
        for (i, (f, x)) in cases.into_iter().enumerate() {
            for options in [GradcheckOptions::default(), each()] {
                if let Err(error) = gradcheck(f, &[Tensor::from(x)], options) {
                    assert!(error.mismatch().is_none(), "case {i}: {error}");
                    assert!(error.to_string().contains("drown in rounding"), "case {i}: {error}");
                }
                if let Err(error) = jvp_check(f, &[Tensor::from(x)], options) {
                    assert!(error.mismatch().is_none(), "case {i}: {error}");
                }
            }
        }
        // A wrong one is still found beside large numbers.
        let wrong = |_: &Tape, x: &[Var]| x[0] * 2.0 + x[0].stop_gradient() * 0.01 + 1e6;
        assert!(gradcheck(wrong, &[Tensor::from(1.0)], each()).unwrap_err().mismatch().is_some());
    }

    #[test]
    fn infinite_derivatives_contradictions_and_rounding_inside_are_not_called_wrong() {
        use std::f64::consts::PI;
        let cases: [(fn(&Tape, &[Var]) -> Var, Tensor); 6] = [
            (|_, x| crate::ops::Powers::cbrt(x[0]), Tensor::from(0.0)),
            (|_, x| (x[0] * 1000.0).floor() * 0.001, Tensor::from(0.300_512_345_67)),
            (|_, x| x[0].square() + (x[0] * 1e4).floor() * 1e-4, Tensor::from(0.300_512_345_67)),
            (|_, x| (x[0] * (200.0 * PI)).sin(), Tensor::from(0.3)),
            (|_, x| (x[0] + 1e9) - 1e9, Tensor::from(0.7)),
            (|_, x| (x[0] + 1e16) - 1e16, Tensor::from(1.0)),
        ];
        for (i, (f, x)) in cases.into_iter().enumerate() {
            for options in [GradcheckOptions::default(), each(), GradcheckOptions::default().seed(3)] {
                if let Err(error) = gradcheck(f, std::slice::from_ref(&x), options) {
                    assert!(error.mismatch().is_none(), "case {i}: {error}");
                    assert!(error.to_string().contains("do not settle"), "case {i}: {error}");
                    assert_ne!(i, 3, "the derivative of the sine can be seen: {error}");
                }
            }
        }
        // An infinite one where the derivative is finite is wrong.
        let infinite = |_: &Tape, x: &[Var]| (x[0] - x[0].stop_gradient()).sqrt() + x[0] * 2.0;
        let error = gradcheck(infinite, &[Tensor::from(1.0)], each()).unwrap_err();
        assert!(error.mismatch().is_some(), "{error}");
    }

    #[test]
    fn a_variance_of_large_numbers_is_not_called_wrong_and_a_wrong_one_is() {
        let numbers =
            |seed: usize| Tensor::from_fn([10], |i| 1000.0 + ((i * 37 + seed * 59) % 101) as f64 / 25.0 - 2.0);
        for seed in 0..50 {
            let f = |_: &Tape, x: &[Var]| x[0].square().sum() * 0.1 - (x[0].sum() * 0.1).square();
            if let Err(error) = gradcheck(f, &[numbers(seed)], GradcheckOptions::default().seed(seed as u64)) {
                assert!(error.mismatch().is_none(), "{seed}: {error}");
            }
            let wrong = |_: &Tape, x: &[Var]| x[0].square().sum() * 0.1 - (x[0].sum() * 0.1).stop_gradient().square();
            let error = gradcheck(wrong, &[numbers(seed)], GradcheckOptions::default().seed(seed as u64)).unwrap_err();
            assert!(error.mismatch().is_some(), "{seed}: {error}");
        }
    }

    #[test]
    fn assignments_are_not_carried_out() {
        let f = |tape: &Tape, x: &[Var]| {
            let w = tape.param(2.0);
            tape.assign(w, w + 1.0);
            (x[0] * w).square()
        };
        gradcheck(f, &[Tensor::from(1.5)], each()).unwrap();
        jvp_check(f, &[Tensor::from(1.5)], each()).unwrap();
        gradgradcheck(f, &[Tensor::from(1.5)], each()).unwrap();
    }

    #[test]
    fn no_inputs_and_inputs_without_influence() {
        assert!(gradcheck(|tape, _| tape.constant(1.0), &[], each()).is_err());
        gradcheck(|_, x| x[1].square(), &[Tensor::from([1.0, 2.0]), Tensor::from(3.0)], each()).unwrap();
    }
}
