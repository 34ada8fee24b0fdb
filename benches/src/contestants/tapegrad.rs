//! This project: the step is recorded once, differentiated, compiled and replayed.

use std::time::{Duration, Instant};

use super::{Dtype, Memory, Step};
use crate::cases::{Activation, Case, Loss, Optimizer};
use ::tapegrad::{Element, Program, State, Tape, Tensor, Var};
use tapegrad_nn::{Adam, AdamW, Mlp, Module, Momentum, Nesterov, Reduction, RmsProp, Sgd};

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
    /// Records forward pass, loss, gradients and update of `case`, as a user would write them: A to H with operations of
    /// the tape, other networks with the layers, losses and optimisers of `tapegrad-nn`.
    pub fn new(case: &Case) -> Self {
        if case.is_fixed() { Self::with_operations(case) } else { Self::with_layers(case) }
    }

    fn with_operations(case: &Case) -> Self {
        let tape = Tape::new();
        let x = tape.input(tensor([case.batch, case.inputs()], &case.x));
        let y = tape.input(tensor([case.batch, case.outputs()], &case.y));
        let (mut a, mut params) = (x, Vec::new());
        for layer in &case.layers {
            let w = tape.param(tensor([layer.inputs, layer.outputs], &layer.weights));
            params.push(w);
            let mut z = a.matmul(w);
            if case.bias {
                let b = tape.param(tensor([layer.outputs], &layer.biases));
                params.push(b);
                z += b;
            }
            a = z.sigmoid();
        }
        let loss = match case.loss {
            Loss::Mse => (a - y).square().mean(),
            Loss::HalfSse => 0.5 * (a - y).square().sum(),
            Loss::Bce => -(y * a.ln() + (1.0 - y) * (1.0 - a).ln()).mean(),
            Loss::BceWithLogits | Loss::CrossEntropy | Loss::Nll => {
                unreachable!("no fixed case has such a loss")
            }
        };
        let gradients = tape.grad(loss, &params);
        for (param, gradient) in params.into_iter().zip(gradients) {
            tape.assign(param, param - case.learning_rate * gradient);
        }
        Recorded { tape, loss }
    }

    fn with_layers(case: &Case) -> Self {
        let tape = Tape::new();
        let x = tape.input(tensor([case.batch, case.inputs()], &case.x));
        let widths: Vec<usize> = std::iter::once(case.inputs()).chain(case.layers.iter().map(|l| l.outputs)).collect();
        let mut activations: Vec<tapegrad_nn::Activation> =
            case.layers.iter().map(|l| activation(l.activation)).collect();
        if let (Loss::Nll, Some(last)) = (case.loss, activations.last_mut()) {
            *last = tapegrad_nn::Activation::LogSoftmax;
        }
        let mut builder = Mlp::builder(widths).activations(activations);
        let mut weights = Vec::new();
        for layer in &case.layers {
            weights.push(tensor([layer.inputs, layer.outputs], &layer.weights));
            if case.bias {
                weights.push(tensor([layer.outputs], &layer.biases));
            }
        }
        if !case.bias {
            builder = builder.without_bias();
        }
        let net = builder.build_from(&tape, &weights).expect("a case's weights fit its layers");
        let reduction = if case.mean { Reduction::Mean } else { Reduction::Sum };
        let (kind, target) = match case.loss {
            Loss::CrossEntropy => (tapegrad_nn::Loss::CrossEntropy, classes(&tape, case)),
            Loss::Nll => (tapegrad_nn::Loss::Nll, classes(&tape, case)),
            Loss::Mse => (tapegrad_nn::Loss::Mse, labels(&tape, case)),
            Loss::HalfSse => (tapegrad_nn::Loss::HalfSse, labels(&tape, case)),
            Loss::Bce => (tapegrad_nn::Loss::Bce, labels(&tape, case)),
            Loss::BceWithLogits => (tapegrad_nn::Loss::BceWithLogits, labels(&tape, case)),
        };
        let loss = kind.record(net.forward(x), target, reduction);
        let params = net.params();
        let gradients = tape.grad(loss, &params);
        let rate = tape.input(case.learning_rate);
        optimizer(case.optimizer).record(&tape, &params, &gradients, rate);
        Recorded { tape, loss }
    }

    /// Compiles the step.
    pub fn compile<T: Element>(&self) -> Program<T> {
        self.tape.compile(&[self.loss]).expect("the recorded step is valid")
    }
}

fn labels(tape: &Tape, case: &Case) -> Var {
    tape.input(tensor([case.batch, case.outputs()], &case.y))
}

fn classes(tape: &Tape, case: &Case) -> Var {
    tape.index_input(case.y.iter().map(|&c| c as usize).collect::<Vec<usize>>())
}

fn activation(of: Activation) -> tapegrad_nn::Activation {
    match of {
        Activation::Identity => tapegrad_nn::Activation::Identity,
        Activation::Sigmoid => tapegrad_nn::Activation::Sigmoid,
        Activation::Tanh => tapegrad_nn::Activation::Tanh,
        Activation::Relu => tapegrad_nn::Activation::Relu,
        Activation::Softplus => tapegrad_nn::Activation::Softplus,
        Activation::Softmax => tapegrad_nn::Activation::Softmax,
        Activation::LogSoftmax => tapegrad_nn::Activation::LogSoftmax,
    }
}

fn optimizer(of: Optimizer) -> Box<dyn tapegrad_nn::Optimizer> {
    match of {
        Optimizer::Sgd => Box::new(Sgd::new()),
        Optimizer::Momentum => Box::new(Momentum::default()),
        Optimizer::Nesterov => Box::new(Nesterov::default()),
        Optimizer::RmsProp => Box::new(RmsProp::default()),
        Optimizer::Adam => Box::new(Adam::default()),
        Optimizer::AdamW => Box::new(AdamW::default()),
    }
}

struct Replayed<T> {
    program: Program<T>,
    state: State<T>,
    /// Parameters as they are recorded.
    start: State<T>,
    loss: Var,
}

impl<T: Element> Replayed<T> {
    fn new(case: &Case, threads: usize) -> Self {
        let recorded = Recorded::new(case);
        let program = recorded.compile::<T>();
        let (mut state, start) = (program.state(), program.state());
        state.set_threads(threads).expect("the system has that many threads");
        Replayed { program, state, start, loss: recorded.loss }
    }
}

/// The net of `case`, for that many threads.
pub fn make<T: Element>(case: &Case, threads: usize) -> Box<dyn Step> {
    Box::new(Replayed::<T>::new(case, threads))
}

/// How long it takes to record, differentiate, compile and replay `case` once: the fastest of some times.
pub fn time_to_first_step(case: &Case, dtype: Dtype) -> Duration {
    const MOST: usize = 15;
    const BUDGET: Duration = Duration::from_millis(300);
    let begun = Instant::now();
    let mut best = Duration::MAX;
    for n in 0..MOST {
        if n >= 3 && begun.elapsed() > BUDGET {
            break;
        }
        let start = Instant::now();
        let net: Box<dyn Step> = match dtype {
            Dtype::F32 => first_step::<f32>(case),
            Dtype::F64 => first_step::<f64>(case),
        };
        best = best.min(start.elapsed());
        drop(net);
    }
    best
}

fn first_step<T: Element>(case: &Case) -> Box<dyn Step> {
    let mut net = Replayed::<T>::new(case, 1);
    net.step();
    Box::new(net)
}

/// The gradients of case A's loss, recorded, compiled and replayed once: what a process that wants one gradient does.
pub fn first_gradient() -> Vec<f32> {
    let case = Case::new('A');
    let tape = Tape::new();
    let x = tape.input(tensor([case.batch, case.inputs()], &case.x));
    let y = tape.input(tensor([case.batch, case.outputs()], &case.y));
    let (mut a, mut params) = (x, Vec::new());
    for layer in &case.layers {
        let w = tape.param(tensor([layer.inputs, layer.outputs], &layer.weights));
        let b = tape.param(tensor([layer.outputs], &layer.biases));
        params.extend([w, b]);
        a = (a.matmul(w) + b).sigmoid();
    }
    let gradients = tape.grad((a - y).square().mean(), &params);
    let program = tape.compile::<f32>(&gradients).expect("the recorded gradient is valid");
    let mut state = program.state();
    program.replay(&mut state).expect("a step without branches cannot fail");
    gradients.iter().flat_map(|&g| state.get(g).to_vec()).collect()
}

impl<T: Element> Step for Replayed<T> {
    fn step(&mut self) {
        self.program.replay(&mut self.state).expect("a step without branches cannot fail");
    }

    fn restart(&mut self, _: &Case) {
        self.state.copy_params_from(&self.start).expect("both states are the program's");
    }

    fn loss(&self) -> f64 {
        self.state.item(self.loss).to_f64()
    }

    fn memory(&self) -> Option<Memory> {
        let bytes = |elements: usize| elements * size_of::<T>();
        Some(Memory { arena: bytes(self.program.arena_len()), bound: Some(bytes(self.program.live_len())) })
    }
}
