//! dfdx: modules whose sizes are types, its own optimiser.

use dfdx::losses::{binary_cross_entropy_with_logits_loss, mse_loss};
use dfdx::nn::modules::{Linear, Sigmoid, UnbiasedLinear};
use dfdx::optim::{Optimizer, Sgd, SgdConfig};
use dfdx::prelude::{BuildModule, ModuleMut, ZeroGrads};
use dfdx::shapes::Const;
use dfdx::tensor::{AsArray, Cpu, TensorFromVec, Trace};
use dfdx::tensor_ops::{Backward, SumTo};
use tapegrad_benches::cases::{Case, Loss};
use tapegrad_benches::contestants::Dtype;

use crate::Train;

/// Weights as dfdx keeps them, `[outputs][inputs]`.
fn turned<T>(layer: &tapegrad_benches::cases::Dense, number: impl Fn(f64) -> T) -> Vec<T> {
    let (i, o) = (layer.inputs, layer.outputs);
    (0..i * o).map(|k| number(layer.weights[k % i * o + k / i])).collect()
}

/// Gives a layer its initial weights and biases.
macro_rules! load {
    ($to:expr, $case:expr, $k:literal, $t:ident) => {
        $to.weight.copy_from(&turned(&$case.layers[$k], |x| x as $t));
        $to.bias.copy_from(&$case.layers[$k].biases.iter().map(|&x| x as $t).collect::<Vec<_>>());
    };
}

/// A training step of a net with these layers.
macro_rules! net {
    ($from:expr, $t:ident, [$($layer:ty),*], $inputs:literal, $outputs:literal, |$m:ident, $case:ident| $load:block,
        |$p:ident, $y:ident| $loss:expr) => {{
        let dev = Cpu::default();
        let $case: &Case = $from;
        let numbers = |v: &[f64]| v.iter().map(|&x| x as $t).collect::<Vec<$t>>();
        let x = dev.tensor_from_vec(numbers(&$case.x), ($case.batch, Const::<$inputs>));
        let y = dev.tensor_from_vec(numbers(&$case.y), ($case.batch, Const::<$outputs>));
        let mut model = <($($layer,)*)>::build(&dev);
        {
            let $m = &mut model;
            $load
        }
        let mut sgd = Sgd::new(&model, SgdConfig { lr: $case.learning_rate, momentum: None, weight_decay: None });
        let mut kept = Some(model.alloc_grads());
        Box::new(move |wanted| {
            let gradients = kept.take().expect("put back after every step");
            let $p = model.forward_mut(x.clone().traced(gradients));
            let $y = y.clone();
            let loss = $loss;
            let value = if wanted { f64::from(loss.array()) } else { 0.0 };
            let mut gradients = loss.backward();
            sgd.update(&mut model, &gradients).expect("every parameter has a gradient");
            model.zero_grads(&mut gradients);
            kept = Some(gradients);
            value
        })
    }};
}

macro_rules! two_layers {
    ($case:expr, $t:ident, $a:literal, $b:literal, $c:literal) => {
        net!($case, $t, [(Linear<$a, $b, $t, Cpu>, Sigmoid), (Linear<$b, $c, $t, Cpu>, Sigmoid)], $a, $c,
            |m, case| {
                load!(m.0.0, case, 0, $t);
                load!(m.1.0, case, 1, $t);
            },
            |p, y| mse_loss(p, y))
    };
}

macro_rules! three_layers {
    ($case:expr, $t:ident, $a:literal, $b:literal, $c:literal, $d:literal) => {
        net!($case, $t, [
            (Linear<$a, $b, $t, Cpu>, Sigmoid),
            (Linear<$b, $c, $t, Cpu>, Sigmoid),
            (Linear<$c, $d, $t, Cpu>, Sigmoid)
        ], $a, $d,
            |m, case| {
                load!(m.0.0, case, 0, $t);
                load!(m.1.0, case, 1, $t);
                load!(m.2.0, case, 2, $t);
            },
            |p, y| mse_loss(p, y))
    };
}

macro_rules! pick {
    ($case:expr, $t:ident) => {
        match $case.name.as_str() {
            "A" => two_layers!($case, $t, 2, 2, 1),
            "B" | "C" => net!($case, $t, [
                    (Linear<2, 5, $t, Cpu>, Sigmoid), (Linear<5, 5, $t, Cpu>, Sigmoid), Linear<5, 1, $t, Cpu>
                ], 2, 1,
                |m, case| {
                    load!(m.0.0, case, 0, $t);
                    load!(m.1.0, case, 1, $t);
                    load!(m.2, case, 2, $t);
                },
                |p, y| binary_cross_entropy_with_logits_loss(p, y)),
            "D" => net!($case, $t, [
                    (UnbiasedLinear<3, 4, $t, Cpu>, Sigmoid), (UnbiasedLinear<4, 1, $t, Cpu>, Sigmoid)
                ], 3, 1,
                |m, case| {
                    m.0.0.weight.copy_from(&turned(&case.layers[0], |x| x as $t));
                    m.1.0.weight.copy_from(&turned(&case.layers[1], |x| x as $t));
                },
                |p, y| (p - y).square().sum::<(), _>() * 0.5),
            "E" => three_layers!($case, $t, 16, 64, 64, 1),
            "F" => three_layers!($case, $t, 64, 256, 256, 10),
            "G" => two_layers!($case, $t, 784, 128, 10),
            "H" => three_layers!($case, $t, 784, 1024, 1024, 10),
            name => unreachable!("no case {name}"),
        }
    };
}

pub(crate) fn make(case: &Case, dtype: Dtype) -> Train {
    debug_assert!(matches!(case.loss, Loss::Mse | Loss::Bce | Loss::HalfSse));
    match dtype {
        Dtype::F32 => pick!(case, f32),
        Dtype::F64 => pick!(case, f64),
    }
}
