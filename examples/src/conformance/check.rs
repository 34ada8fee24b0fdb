//! Recording a sample, replaying it, and comparing.
//!
//! A difference is measured against the largest element of the tensor it is in: sums whose terms cancel are not held to
//! digits that PyTorch does not have either. Of a derivative that cancels to nothing only rounding is left, so to what is
//! allowed comes the tolerance of values, times the cotangent and the direction that went in. In `f32` the program is held against the `f64` program on the same rounded
//! inputs, so that what rounding the inputs does is not counted.

use super::call::{Call, Refused};
use super::sample::Sample;
use super::{conventions, table};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tapegrad::{Element, Program, State, Tape, Tensor, Var};

/// Largest differences allowed of value, first and second derivatives.
pub(super) const F64: [f64; 3] = [1e-12, 1e-9, 1e-7];
/// Likewise in `f32`.
pub(super) const F32: [f64; 3] = [1e-5, 1e-4, 1e-3];

/// What became of a sample.
pub(super) enum Verdict {
    /// The largest differences of value, first and second derivatives, where there were any, in `f64` and in `f32`.
    Passed([Option<f64>; 3], [Option<f64>; 3]),
    /// We differ on purpose, for this reason.
    Convention(&'static str),
    /// There is no such operation or form of it here, for this reason.
    Unsupported(String),
    /// Something is wrong.
    Failed(String),
}

/// A recorded sample: outputs with the order of their derivative and what they should be.
struct Recorded {
    tape: Tape,
    outputs: Vec<(Var, usize, Option<Tensor>)>,
    inputs: Vec<(Var, Tensor)>,
    /// The sizes of what values, first and second derivatives are multiples of: nothing, the cotangent, it and the direction.
    sizes: [f64; 3],
}

pub(super) fn check(sample: &Sample) -> Verdict {
    if let Some(reason) = conventions::unsupported(sample) {
        return Verdict::Unsupported(reason.to_owned());
    }
    // A panic of the engine is one sample's failure, not the end of the run.
    let outcome = catch_unwind(AssertUnwindSafe(|| record(sample).map(|recorded| compare(&recorded))));
    let failure = match outcome {
        Ok(Ok(Ok((wide, narrow)))) => return Verdict::Passed(wide, narrow),
        Ok(Ok(Err(difference))) => difference,
        Ok(Err(Refused::Unsupported(reason))) => return Verdict::Unsupported(reason),
        Ok(Err(Refused::Wrong(message))) => message,
        Err(payload) => payload
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| payload.downcast_ref::<&str>().map(|&text| text.to_owned()))
            .unwrap_or_else(|| "a panic without a message".to_owned()),
    };
    match conventions::differs(sample, &failure) {
        Some(reason) => Verdict::Convention(reason),
        None => Verdict::Failed(failure),
    }
}

fn record(sample: &Sample) -> Result<Recorded, Refused> {
    let Some((names, translate)) = table::find(&sample.op) else {
        return Err(Refused::Unsupported("there is no such operation".to_owned()));
    };
    let tape = Tape::new();
    let call = Call::record(&tape, sample, names)?;
    let y = translate(&call)?;
    let mut inputs: Vec<(Var, Tensor)> = call.tensors.iter().map(|(var, value, _)| (*var, value.clone())).collect();
    let mut outputs = vec![(y, 0, Some(sample.out.clone()))];
    let wrt = call.wrt();
    let mut input = |value: &Tensor| {
        let var = tape.input(value);
        inputs.push((var, value.clone()));
        var
    };
    if let Some(ct) = sample.ct.as_ref().filter(|_| !wrt.is_empty()) {
        let grads = tape.try_vjp(y, input(ct), &wrt)?;
        outputs.extend(grads.iter().zip(&sample.grads).map(|(&g, wanted)| (g, 1, wanted.clone())));
        if let Some(grads2) = &sample.grads2 {
            let pairs = grads.iter().zip(&sample.v).filter_map(|(&g, v)| v.as_ref().map(|v| (g, v)));
            let products: Vec<Var> = pairs.map(|(g, v)| (g * input(v)).sum()).collect();
            if !products.is_empty() {
                let along: Var = products.into_iter().sum();
                let second = tape.try_grad(along, &wrt)?;
                outputs.extend(second.iter().zip(grads2).map(|(&g, wanted)| (g, 2, wanted.clone())));
            }
        }
    }
    let of_ct = sample.ct.as_ref().map_or(0.0, largest);
    let of_v = sample.v.iter().flatten().map(largest).fold(0.0, f64::max);
    Ok(Recorded { tape, outputs, inputs, sizes: [0.0, of_ct, of_ct * of_v] })
}

type Differences = [Option<f64>; 3];

fn compare(recorded: &Recorded) -> Result<(Differences, Differences), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let outputs: Vec<Var> = recorded.outputs.iter().map(|&(var, ..)| var).collect();
    let wide: Program<f64> = recorded.tape.compile(&outputs).map_err(|e| text(&e))?;
    let narrow: Program<f32> = recorded.tape.compile(&outputs).map_err(|e| text(&e))?;
    let mut state = wide.state();
    let given = replay(&wide, &mut state, recorded, |x| x)?;
    let mut found = [None; 3];
    for ((got, order, wanted), got_value) in recorded.outputs.iter().zip(&given) {
        let zeros = Tensor::zeros(got.shape());
        let wanted = wanted.as_ref().unwrap_or(&zeros);
        within("f64", (F64, recorded.sizes), *order, (got_value, wanted), &mut found)?;
    }
    let rounded = replay(&wide, &mut state, recorded, |x| f64::from(x as f32))?;
    let single = replay(&narrow, &mut narrow.state(), recorded, |x| x)?;
    let mut found_narrow = [None; 3];
    for ((_, order, _), (got, wanted)) in recorded.outputs.iter().zip(single.iter().zip(&rounded)) {
        within("f32", (F32, recorded.sizes), *order, (got, wanted), &mut found_narrow)?;
    }
    Ok((found, found_narrow))
}

/// The outputs of a program for the sample's inputs, each first changed by `round`.
fn replay<T: Element>(
    program: &Program<T>,
    state: &mut State<T>,
    recorded: &Recorded,
    round: fn(f64) -> f64,
) -> Result<Vec<Tensor>, String> {
    for (var, value) in &recorded.inputs {
        let rounded = Tensor::from_fn(value.shape(), |i| round(value.data()[i]));
        // An input that nothing depends on is none of the program's.
        let _ = state.set_tensor(*var, &rounded);
    }
    program.replay(state).map_err(|error| error.to_string())?;
    recorded.outputs.iter().map(|&(var, ..)| state.tensor(var).map_err(|error| error.to_string())).collect()
}

/// The size of the largest finite element.
fn largest(t: &Tensor) -> f64 {
    t.data().iter().filter(|x| x.is_finite()).fold(0.0, |most, x| most.max(x.abs()))
}

/// Whether two tensors agree; the largest difference is kept.
fn within(
    what: &str,
    (tolerances, sizes): ([f64; 3], [f64; 3]),
    order: usize,
    (got, wanted): (&Tensor, &Tensor),
    found: &mut Differences,
) -> Result<(), String> {
    let title = ["value", "first derivative", "second derivative"][order];
    if got.shape() != wanted.shape() {
        return Err(format!("{title} in {what} has shape {} instead of {}", got.shape(), wanted.shape()));
    }
    // In units in which 1 is the largest element, or a size at which rounding alone may differ.
    let size = largest(wanted).max(sizes[order] * tolerances[0] / tolerances[order]).max(f64::MIN_POSITIVE);
    let mut worst = 0.0_f64;
    for (i, (&g, &w)) in got.data().iter().zip(wanted.data()).enumerate() {
        let same = g == w || (g.is_nan() && w.is_nan());
        let difference = if same { 0.0 } else { (g - w).abs() / size };
        if difference.is_nan() || difference > tolerances[order] {
            return Err(format!(
                "{title} in {what}: element {i} is {g:e} instead of {w:e} (largest: {:e})",
                largest(wanted)
            ));
        }
        worst = worst.max(difference);
    }
    found[order] = Some(found[order].unwrap_or(0.0).max(worst));
    Ok(())
}
