//! This project: the step is recorded once, differentiated, compiled and replayed.

use super::Step;
use crate::cases::{Case, Loss};
use ::tapegrad::{Element, Program, State, Tape, Tensor, Var};

/// A recorded training step.
pub struct Recorded {
    /// The tape it is recorded on.
    pub tape: Tape,
    /// The loss before the update.
    pub loss: Var,
}

fn tensor<const N: usize>(shape: [usize; N], data: &[f64]) -> Tensor {
    Tensor::new(shape, data.to_vec()).expect("a case has as many numbers as its shapes say")
}

impl Recorded {
    /// Records forward pass, loss, gradients and update of `case`, as a user would write them.
    pub fn new(case: &Case) -> Self {
        let tape = Tape::new();
        let (first, last) = (&case.layers[0], &case.layers[case.layers.len() - 1]);
        let x = tape.input(tensor([case.batch, first.inputs], &case.x));
        let y = tape.input(tensor([case.batch, last.outputs], &case.y));
        let (mut a, mut params) = (x, Vec::new());
        for layer in &case.layers {
            let w = tape.param(tensor([layer.inputs, layer.outputs], &layer.weights));
            params.push(w);
            let mut z = a.matmul(w);
            if case.bias {
                let b = tape.param(tensor([layer.outputs], &layer.biases));
                params.push(b);
                z = z + b;
            }
            a = z.sigmoid();
        }
        let loss = match case.loss {
            Loss::Mse => (a - y).square().mean(),
            Loss::HalfSse => 0.5 * (a - y).square().sum(),
            Loss::Bce => -(y * a.ln() + (1.0 - y) * (1.0 - a).ln()).mean(),
        };
        let gradients = tape.grad(loss, &params);
        for (param, gradient) in params.into_iter().zip(gradients) {
            tape.assign(param, param - case.learning_rate * gradient);
        }
        Recorded { tape, loss }
    }

    /// Compiles the step.
    pub fn compile<T: Element>(&self) -> Program<T> {
        self.tape.compile(&[self.loss]).expect("the recorded step is valid")
    }
}

struct Replayed<T> {
    program: Program<T>,
    state: State<T>,
    loss: Var,
}

/// The net of `case`.
pub fn make<T: Element>(case: &Case) -> Box<dyn Step> {
    let recorded = Recorded::new(case);
    let program = recorded.compile::<T>();
    Box::new(Replayed { state: program.state(), program, loss: recorded.loss })
}

impl<T: Element> Step for Replayed<T> {
    fn step(&mut self) {
        self.program.replay(&mut self.state).expect("a step without branches cannot fail");
    }

    fn loss(&self) -> f64 {
        self.state.item(self.loss).to_f64()
    }
}
