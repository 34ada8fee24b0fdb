//! burn: tensors with gradients on the Flex back end.

use burn::tensor::activation::sigmoid;
use burn::tensor::{DType, Device, Tensor, TensorData};
use tapegrad_benches::cases::{Case, Loss};
use tapegrad_benches::contestants::Dtype;

use crate::Train;

struct Layer {
    weights: Tensor<2>,
    biases: Option<Tensor<2>>,
}

pub(crate) fn make(case: &Case, dtype: Dtype) -> Train {
    let device = Device::flex().autodiff();
    let matrix = |numbers: &[f64], rows: usize, columns: usize| -> Tensor<2> {
        match dtype {
            Dtype::F32 => {
                let numbers: Vec<f32> = numbers.iter().map(|&x| x as f32).collect();
                Tensor::from_data(TensorData::new(numbers, [rows, columns]), (&device, DType::F32))
            }
            Dtype::F64 => Tensor::from_data(TensorData::new(numbers.to_vec(), [rows, columns]), (&device, DType::F64)),
        }
    };
    let layer = |l: &tapegrad_benches::cases::Dense| Layer {
        weights: matrix(&l.weights, l.inputs, l.outputs).require_grad(),
        biases: case.bias.then(|| matrix(&l.biases, 1, l.outputs).require_grad()),
    };
    let mut layers: Vec<Layer> = case.layers.iter().map(layer).collect();
    let (x, y) = (matrix(&case.x, case.batch, case.inputs()), matrix(&case.y, case.batch, case.outputs()));
    let (kind, rate) = (case.loss, case.learning_rate);
    Box::new(move |wanted| {
        let mut a = x.clone();
        for layer in &layers {
            let mut z = a.matmul(layer.weights.clone());
            if let Some(biases) = &layer.biases {
                z = z + biases.clone();
            }
            a = sigmoid(z);
        }
        let loss = match kind {
            Loss::Mse => (a - y.clone()).square().mean(),
            Loss::HalfSse => (a - y.clone()).square().sum() * 0.5,
            _ => {
                let wrong = (-y.clone() + 1.0) * (-a.clone() + 1.0).log();
                -(y.clone() * a.log() + wrong).mean()
            }
        };
        let gradients = loss.backward();
        let step = |p: &Tensor<2>| {
            let gradient = p.grad(&gradients).expect("every parameter has a gradient");
            Tensor::from_inner(p.clone().inner() - gradient * rate).require_grad()
        };
        for layer in &mut layers {
            layer.weights = step(&layer.weights);
            layer.biases = layer.biases.as_ref().map(step);
        }
        if wanted { loss.into_data().iter::<f64>().next().expect("a loss is one number") } else { 0.0 }
    })
}
