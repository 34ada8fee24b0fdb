//! candle: variables and `backward`. candle-core has no logistic function: it is composed, as candle-nn's was.

use candle_core::{DType, Device, Result, Tensor, Var};
use tapegrad_benches::cases::{Case, Loss};
use tapegrad_benches::contestants::Dtype;

use crate::Train;

struct Net {
    layers: Vec<(Var, Option<Var>)>,
    x: Tensor,
    y: Tensor,
    kind: Loss,
    rate: f64,
}

pub(crate) fn make(case: &Case, dtype: Dtype) -> Train {
    let mut net = Net::new(case, dtype).expect("a case's numbers fit its shapes");
    Box::new(move |wanted| net.step(wanted).expect("the shapes fit"))
}

fn sigmoid(z: &Tensor) -> Result<Tensor> {
    z.neg()?.exp()?.affine(1.0, 1.0)?.recip()
}

impl Net {
    fn new(case: &Case, dtype: Dtype) -> Result<Self> {
        let dtype = match dtype {
            Dtype::F32 => DType::F32,
            Dtype::F64 => DType::F64,
        };
        let tensor =
            |numbers: &[f64], shape: (usize, usize)| Tensor::from_slice(numbers, shape, &Device::Cpu)?.to_dtype(dtype);
        let mut layers = Vec::new();
        for l in &case.layers {
            let weights = Var::from_tensor(&tensor(&l.weights, (l.inputs, l.outputs))?)?;
            let biases = if case.bias { Some(Var::from_tensor(&tensor(&l.biases, (1, l.outputs))?)?) } else { None };
            layers.push((weights, biases));
        }
        let x = tensor(&case.x, (case.batch, case.inputs()))?;
        let y = tensor(&case.y, (case.batch, case.outputs()))?;
        Ok(Self { layers, x, y, kind: case.loss, rate: case.learning_rate })
    }

    fn step(&mut self, wanted: bool) -> Result<f64> {
        let mut a = self.x.clone();
        for (weights, biases) in &self.layers {
            let mut z = a.matmul(weights)?;
            if let Some(biases) = biases {
                z = z.broadcast_add(biases)?;
            }
            a = sigmoid(&z)?;
        }
        let loss = match self.kind {
            Loss::Mse => (a - &self.y)?.sqr()?.mean_all()?,
            Loss::HalfSse => (a - &self.y)?.sqr()?.sum_all()?.affine(0.5, 0.0)?,
            _ => {
                let wrong = (self.y.affine(-1.0, 1.0)? * a.affine(-1.0, 1.0)?.log()?)?;
                (self.y.mul(&a.log()?)? + wrong)?.mean_all()?.neg()?
            }
        };
        let gradients = loss.backward()?;
        for var in self.layers.iter().flat_map(|(weights, biases)| std::iter::once(weights).chain(biases)) {
            let gradient = gradients.get(var).expect("every parameter has a gradient");
            var.set(&var.sub(&gradient.affine(self.rate, 0.0)?)?)?;
        }
        if wanted { loss.to_dtype(DType::F64)?.to_scalar::<f64>() } else { Ok(0.0) }
    }
}
