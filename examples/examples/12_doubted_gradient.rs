//! "There seems to be a mistake": the 2-5-5-1 net does not learn, and its author suspects the gradient. The tape clears
//! it, and shows what is wrong before the first update. (The next example trains it.)

use std::error::Error;
use tapegrad::{Tape, Tensor, Var};
use tapegrad_nn::random::numpy::RandomState;

const X: [[f64; 4]; 2] = [[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]]; // columns are examples
const Y: [f64; 4] = [0.0, 1.0, 1.0, 0.0];
const SHAPES: [[usize; 2]; 6] = [[5, 2], [5, 1], [5, 5], [5, 1], [1, 5], [1, 1]]; // W1, b1, W2, b2, W3, b3

/// The posted backward pass in plain Rust, example by example, summed: by W1, b1, W2, b2, W3, b3.
fn by_hand(p: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let layer = |l: usize, x: &[f64]| -> Vec<f64> {
        let row = |(w, b): (&[f64], &f64)| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + b;
        p[2 * l].chunks(x.len()).zip(&p[2 * l + 1]).map(|r| 1.0 / (1.0 + (-row(r)).exp())).collect()
    };
    let mut sums: Vec<Vec<f64>> = p.iter().map(|v| vec![0.0; v.len()]).collect();
    for (m, y) in Y.iter().enumerate() {
        let mut a = vec![vec![X[0][m], X[1][m]]];
        (0..3).for_each(|l| a.push(layer(l, &a[l])));
        let out = a[3][0];
        let mut delta = vec![out * (1.0 - out) * -(y / out - (1.0 - y) / (1.0 - out))];
        for l in (0..3).rev() {
            for (i, d) in delta.iter().enumerate() {
                sums[2 * l + 1][i] += d;
                a[l].iter().enumerate().for_each(|(j, x)| sums[2 * l][i * a[l].len() + j] += d * x);
            }
            let back = |j: usize| delta.iter().enumerate().map(|(i, d)| p[2 * l][i * a[l].len() + j] * d).sum::<f64>();
            delta = a[l].iter().enumerate().map(|(j, x)| back(j) * x * (1.0 - x)).collect();
        }
    }
    sums
}

fn main() -> Result<(), Box<dyn Error>> {
    for (lo, name) in [(0.0, "U(0, 1) as posted"), (-1.0, "U(-1, 1)")] {
        let mut random = RandomState::new(0);
        let weights: Vec<Vec<f64>> = SHAPES.iter().map(|[r, c]| random.uniform(lo, 1.0, r * c)).collect();
        let tape = Tape::new();
        let param = |(w, shape): (&Vec<f64>, _)| Ok(tape.param(Tensor::new(shape, w.clone())?));
        let p: Vec<Var> = weights.iter().zip(SHAPES).map(param).collect::<Result<_, tapegrad::BindError>>()?;
        let (x, y) = (tape.constant(X), tape.constant([Y]));
        let z1 = p[0].matmul(x) + p[1];
        let z2 = p[2].matmul(z1.sigmoid()) + p[3];
        let a2 = z2.sigmoid();
        let a3 = (p[4].matmul(a2) + p[5]).sigmoid();
        let cost = -(y * a3.ln() + (1.0 - y) * (1.0 - a3).ln()).sum();

        let gradient = tape.grad(cost, &p);
        for (g, hand) in gradient.iter().map(|g| g.value()).zip(by_hand(&weights)) {
            // Sums of parts that cancel: 1e-13 of the largest element, where the parts are of that size.
            let scale = hand.iter().fold(0.0_f64, |most, h| most.max(h.abs()));
            assert!(g.data().iter().zip(&hand).all(|(g, h)| (g - h).abs() <= 1e-13 * scale));
        }
        let norm = |g: Var| g.square().sum().sqrt().item();
        let [first, last] = [norm(gradient[0]), norm(gradient[4])];
        let slope = tape.grad(a2.sum(), &[z2])[0].mean().item();
        let spread = (a3 - a3.mean()).square().mean().sqrt().item();
        println!("{name}: the posted gradient is right; but");
        println!("  the mean slope of hidden layer 2 is {slope:.3}, of at most 0.25");
        println!("  over the four examples the output varies by {spread:.4} around {:.4}", a3.mean().item());
        println!("  the gradient of the last layer is {:.0} times that of the first", last / first);
        assert!(if lo == 0.0 { slope < 0.12 && last > 30.0 * first } else { slope > 0.18 });
    }
    Ok(())
}
