//! Owns the network as a recording: the forward pass in the engine's words; all else follows from it.

use super::by_hand::Weights;
use super::{HIDDEN, INPUTS, RATE, ROWS, TARGETS};
use crate::failure::Failure;
use tapegrad::{Program, State, Tape, Tensor, Var};

/// The network on a tape.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) tape: Tape,
    pub(super) params: [Var; 4],
    pub(super) output: Var,
    pub(super) loss: Var,
    pub(super) gradient: Vec<Var>,
}

impl Recorded {
    /// Records the forward pass and lets the tape differentiate it.
    pub(super) fn new(weights: &Weights) -> Self {
        let tape = Tape::new();
        let fitting = |shape: &[usize], numbers: &[f64]| {
            Tensor::new(shape, numbers.to_vec()).expect("the numbers of a layer fit its shape")
        };
        let x = tape.constant(INPUTS);
        let t = tape.constant(fitting(&[ROWS, 1], &TARGETS));
        let w1 = tape.param(fitting(&[2, HIDDEN], &weights.w1)).named("w1");
        let b1 = tape.param(fitting(&[HIDDEN], &weights.b1)).named("b1");
        let w2 = tape.param(fitting(&[HIDDEN, 1], &weights.w2)).named("w2");
        let b2 = tape.param(fitting(&[1], &weights.b2)).named("b2");

        let hidden = (x.matmul(w1) + b1).tanh();
        let output = (hidden.matmul(w2) + b2).sigmoid();
        let loss = -(t * output.ln() + (1.0 - t) * (1.0 - output).ln()).mean();

        let params = [w1, b1, w2, b2];
        let gradient = tape.grad(loss, &params);
        Recorded { tape, params, output, loss, gradient }
    }
}

/// The network compiled with a step of gradient descent: one replay is one step.
#[derive(Debug)]
pub(super) struct Trained {
    recorded: Recorded,
    program: Program<f64>,
    state: State<f64>,
}

impl Trained {
    pub(super) fn new(weights: &Weights) -> Result<Self, Failure> {
        let recorded = Recorded::new(weights);
        for (&param, &slope) in recorded.params.iter().zip(&recorded.gradient) {
            recorded.tape.assign(param, param - RATE * slope);
        }
        let mut outputs = vec![recorded.loss, recorded.output];
        outputs.extend(&recorded.gradient);
        let program = recorded.tape.compile::<f64>(&outputs).map_err(Failure::other)?;
        let state = program.state();
        Ok(Trained { recorded, program, state })
    }

    /// Replays one step; the loss before it.
    pub(super) fn step(&mut self) -> Result<f64, Failure> {
        self.program.replay(&mut self.state).map_err(Failure::other)?;
        Ok(self.state.item(self.recorded.loss))
    }

    /// The loss at these weights; afterwards [`gradient`](Self::gradient) is the one there.
    pub(super) fn loss_at(&mut self, weights: &Weights) -> Result<f64, Failure> {
        let numbers = [&weights.w1, &weights.b1, &weights.w2, &weights.b2];
        for (&param, numbers) in self.recorded.params.iter().zip(numbers) {
            self.state.set(param, numbers).map_err(Failure::other)?;
        }
        self.step()
    }

    /// The gradient of the last step, in the order of [`Weights::numbers`].
    pub(super) fn gradient(&self) -> Vec<f64> {
        self.recorded.gradient.iter().flat_map(|&slope| self.state.get(slope)).copied().collect()
    }

    /// What the network gave for the four rows in the last step.
    pub(super) fn outputs(&self) -> &[f64] {
        self.state.get(self.recorded.output)
    }

    /// How many operations the tape holds and how many steps the program made of them has.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.recorded.tape.len(), self.program.len())
    }
}

/// One step as engines without replay take it: everything recorded, differentiated and evaluated anew.
pub(super) fn step_by_recording(weights: &mut Weights) -> f64 {
    let recorded = Recorded::new(weights);
    let slopes: Vec<f64> = recorded.gradient.iter().flat_map(|slope| slope.value().data().to_vec()).collect();
    for (weight, slope) in weights.numbers_mut().zip(slopes) {
        *weight -= RATE * slope;
    }
    recorded.loss.item()
}
