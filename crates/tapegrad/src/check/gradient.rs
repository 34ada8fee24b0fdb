//! [`gradcheck`]: a recorded gradient against differences of replayed values.

use super::difference::{Estimate, derivative};
use crate::error::{BindError, CompileError, ReplayError};
use crate::{Program, State, Tape, Tensor, Var};
use std::fmt;

/// How a gradient is checked.
#[derive(Clone, Copy, Debug)]
pub struct GradcheckOptions {
    every_element: bool,
    rtol: f64,
    atol: f64,
    step: f64,
    seed: u64,
}

impl Default for GradcheckOptions {
    /// One random direction, relative tolerance 1e-6, absolute tolerance 1e-8, first step 0.01.
    fn default() -> Self {
        GradcheckOptions { every_element: false, rtol: 1e-6, atol: 1e-8, step: 1e-2, seed: 0 }
    }
}

impl GradcheckOptions {
    /// Whether each element of each input is checked by itself: as many times slower as there are elements, but errors
    /// that cancel in a random direction cannot hide.
    #[must_use]
    pub fn every_element(mut self, every_element: bool) -> Self {
        self.every_element = every_element;
        self
    }

    /// The difference allowed, relative to the expected derivative.
    #[must_use]
    pub fn rtol(mut self, rtol: f64) -> Self {
        self.rtol = rtol;
        self
    }

    /// The difference allowed whatever the expected derivative.
    #[must_use]
    pub fn atol(mut self, atol: f64) -> Self {
        self.atol = atol;
        self
    }

    /// The first and largest step of the differences; make it smaller where `f` is only smooth in a narrow
    /// neighbourhood.
    #[must_use]
    pub fn step(mut self, step: f64) -> Self {
        self.step = step;
        self
    }

    /// Another random direction.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// A derivative that is not what the values say.
#[derive(Clone, Debug, PartialEq)]
pub struct Mismatch {
    /// The number of the input.
    pub input: usize,
    /// The position of the element in it.
    pub element: Vec<usize>,
    /// The derivative by differences of values.
    pub expected: f64,
    /// The recorded derivative.
    pub got: f64,
}

/// Why a gradient does not pass.
#[derive(Clone, Debug)]
pub struct GradcheckError(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Wrong(Mismatch),
    Direction { expected: f64, got: f64 },
    Unsettled { at: Option<(usize, Vec<usize>)>, estimate: Estimate, got: f64 },
    NoInputs,
    Other(String),
}

impl GradcheckError {
    /// The wrong element, if it is known.
    #[must_use]
    pub fn mismatch(&self) -> Option<&Mismatch> {
        match &self.0 {
            Kind::Wrong(mismatch) => Some(mismatch),
            _ => None,
        }
    }
}

impl fmt::Display for GradcheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Wrong(Mismatch { input, element, expected, got }) => write!(
                f,
                "wrong derivative by input {input} at element {element:?}: expected {expected:.8e} from differences of \
                 values, got {got:.8e} from the gradient"
            ),
            Kind::Direction { expected, got } => write!(
                f,
                "wrong derivative in a random direction: expected {expected:.8e} from differences of values, got {got:.8e} \
                 from the gradient; no element by itself is out of tolerance"
            ),
            Kind::Unsettled { at, estimate, got } => {
                match at {
                    Some((input, element)) => write!(f, "derivative by input {input} at element {element:?}")?,
                    None => f.write_str("derivative in a random direction")?,
                }
                write!(
                    f,
                    " cannot be checked: differences of values do not settle ({:.8e}, give or take {:.1e}; the gradient says \
                     {got:.8e})\n  help: the function has a kink, a jump or an undefined value nearby; move the inputs or \
                     take a smaller step",
                    estimate.value, estimate.error
                )
            }
            Kind::NoInputs => f.write_str("there are no inputs to differentiate by"),
            Kind::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for GradcheckError {}

macro_rules! wraps {
    ($($Error:ty),*) => {$(
        impl From<$Error> for GradcheckError {
            fn from(error: $Error) -> Self {
                GradcheckError(Kind::Other(error.to_string()))
            }
        }
    )*};
}
wraps!(CompileError, BindError, ReplayError);

/// Checks the gradient of `f` at `inputs` against differences of its values.
///
/// `f` is recorded once, on the tape it is handed, with the inputs as its arguments; the program of its value is then
/// replayed around `inputs`. A result that is not a scalar is first multiplied by fixed random numbers and added up. To
/// check second derivatives, let `f` return a gradient.
///
/// # Errors
/// If a derivative differs by more than the tolerances; the error names the input, the element, what was expected and
/// what was found. Also if the differences do not settle, because of a kink nearby, or a recorded comparison changes.
///
/// # Panics
/// If `f` panics: recording mistakes are reported that way.
///
/// ```
/// use tapegrad::check::{GradcheckOptions, gradcheck};
/// use tapegrad::Tensor;
///
/// let inputs = [Tensor::from([0.5, -1.5]), Tensor::from(2.0)];
/// gradcheck(|_, x| (x[0].tanh() * x[1]).sum(), &inputs, GradcheckOptions::default())?;
///
/// // The derivative of something else: the value is x², the gradient that of |x|.
/// let wrong = gradcheck(
///     |_, x| x[0].abs() + (x[0].square() - x[0].abs()).stop_gradient(),
///     &[Tensor::from(3.0)],
///     GradcheckOptions::default(),
/// );
/// assert!(wrong.unwrap_err().to_string().contains("derivative by input 0"));
/// # Ok::<(), tapegrad::check::GradcheckError>(())
/// ```
pub fn gradcheck(
    f: impl FnOnce(&Tape, &[Var]) -> Var,
    inputs: &[Tensor],
    options: GradcheckOptions,
) -> Result<(), GradcheckError> {
    if inputs.is_empty() {
        return Err(GradcheckError(Kind::NoInputs));
    }
    let tape = Tape::new();
    let vars: Vec<Var> = inputs.iter().map(|input| tape.input(input)).collect();
    let y = f(&tape, &vars);
    let mut random = Random(options.seed);
    let shape = y.shape();
    let loss = match shape.rank() {
        0 => y,
        _ => (y * tape.constant(Tensor::from_fn(shape, |_| random.next()))).sum(),
    };
    let gradients = tape.grad(loss, &vars);
    let program = tape.compile::<f64>(&gradients)?;
    let mut state = program.state();
    program.replay(&mut state)?;
    let gradients: Vec<Vec<f64>> = gradients.iter().map(|&g| state.get(g).to_vec()).collect();
    let program = tape.compile::<f64>(&[loss])?;
    let mut check = Check { state: program.state(), program, vars: &vars, inputs, loss, options };

    if !options.every_element {
        let direction: Vec<Vec<f64>> =
            inputs.iter().map(|input| input.data().iter().map(|_| random.next()).collect()).collect();
        let got = direction.iter().flatten().zip(gradients.iter().flatten()).map(|(v, g)| v * g).sum();
        let estimate = check.along(&direction)?;
        return match check.verdict(estimate, got) {
            Verdict::Right => Ok(()),
            Verdict::Unsettled => Err(GradcheckError(Kind::Unsettled { at: None, estimate, got })),
            // Something is wrong; say where.
            Verdict::Wrong => {
                check.elements(&gradients)?;
                Err(GradcheckError(Kind::Direction { expected: estimate.value, got }))
            }
        };
    }
    check.elements(&gradients)
}

enum Verdict {
    Right,
    Wrong,
    Unsettled,
}

struct Check<'a> {
    program: Program<f64>,
    state: State<f64>,
    vars: &'a [Var],
    inputs: &'a [Tensor],
    loss: Var,
    options: GradcheckOptions,
}

impl Check<'_> {
    /// Compares each element, and reports the one that is furthest off.
    fn elements(&mut self, gradients: &[Vec<f64>]) -> Result<(), GradcheckError> {
        let mut direction: Vec<Vec<f64>> = self.inputs.iter().map(|input| vec![0.0; input.data().len()]).collect();
        let mut worst: Option<(f64, Mismatch)> = None;
        let mut unsettled = None;
        for (input, gradient) in gradients.iter().enumerate() {
            for (i, &got) in gradient.iter().enumerate() {
                direction[input][i] = 1.0;
                let estimate = self.along(&direction)?;
                direction[input][i] = 0.0;
                let element = || position(&self.inputs[input], i);
                match self.verdict(estimate, got) {
                    Verdict::Right => {}
                    Verdict::Unsettled => {
                        unsettled.get_or_insert(Kind::Unsettled { at: Some((input, element())), estimate, got });
                    }
                    Verdict::Wrong => {
                        let expected = estimate.value;
                        // A NaN is as far off as can be.
                        let off = (got - expected).abs();
                        let off = if off.is_nan() { f64::INFINITY } else { off };
                        if worst.as_ref().is_none_or(|(most, _)| off > *most) {
                            worst = Some((off, Mismatch { input, element: element(), expected, got }));
                        }
                    }
                }
            }
        }
        match (worst, unsettled) {
            (Some((_, mismatch)), _) => Err(GradcheckError(Kind::Wrong(mismatch))),
            (None, Some(kind)) => Err(GradcheckError(kind)),
            (None, None) => Ok(()),
        }
    }

    /// The derivative of the value along a direction.
    fn along(&mut self, direction: &[Vec<f64>]) -> Result<Estimate, ReplayError> {
        let mut failed = None;
        let Check { program, state, vars, inputs, loss, options } = self;
        let value = |t: f64| {
            for ((&var, input), direction) in vars.iter().zip(*inputs).zip(direction) {
                let moved: Vec<f64> = input.data().iter().zip(direction).map(|(x, v)| x + t * v).collect();
                // An input that the value does not depend on is not in the program.
                let _ = state.set(var, &moved);
            }
            match program.replay(state) {
                Ok(()) => state.item(*loss),
                Err(error) => {
                    failed = Some(error);
                    f64::NAN
                }
            }
        };
        let estimate = derivative(value, 0.0, options.step);
        // A large step may take another branch; that matters only if the small ones do, too.
        match failed {
            Some(error) if !estimate.value.is_finite() => Err(error),
            _ => Ok(estimate),
        }
    }

    fn verdict(&self, estimate: Estimate, got: f64) -> Verdict {
        let Estimate { value: expected, error } = estimate;
        let allowed = self.options.atol + self.options.rtol * expected.abs();
        let off = (got - expected).abs();
        let settled = error <= allowed.max(1e-3 * off);
        let nan = got.is_nan() && expected.is_finite() && error <= 1e-3 * expected.abs().max(1.0);
        match off <= allowed {
            true => Verdict::Right,
            false if settled || nan => Verdict::Wrong,
            false => Verdict::Unsettled,
        }
    }
}

/// The index of the `i`-th element in row-major order.
fn position(tensor: &Tensor, i: usize) -> Vec<usize> {
    let shape = tensor.shape();
    shape.strides().iter().zip(shape.dims()).map(|(stride, dim)| i / stride % dim).collect()
}

/// Numbers between ½ and 1 of either sign: none so small that an error would hide in it. The generator is SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let magnitude = 0.5 + (z >> 12) as f64 / (1u64 << 53) as f64;
        if z & 1 == 0 { magnitude } else { -magnitude }
    }
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
    fn no_inputs_and_inputs_without_influence() {
        assert!(gradcheck(|tape, _| tape.constant(1.0), &[], each()).is_err());
        gradcheck(|_, x| x[1].square(), &[Tensor::from([1.0, 2.0]), Tensor::from(3.0)], each()).unwrap();
    }
}
