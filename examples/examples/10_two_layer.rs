//! "Why multiply by the previous activation, and why plus?" The 3-4-1 net of `np.random.seed(1)`, and what its two
//! update lines really are.

use std::error::Error;
use tapegrad::{Tape, Tensor, Var};
use tapegrad_nn::random::numpy::RandomState;

const X: [[f64; 3]; 4] = [[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 1.0]];
const Y: [f64; 4] = [0.0, 1.0, 1.0, 0.0];

/// The program's `np.dot(a0.T, dC_dw1)` and `np.dot(a1.T, dC_dw2)`, in plain Rust.
fn by_hand(w1: &[f64], w2: &[f64]) -> [Vec<f64>; 2] {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let (mut for_w1, mut for_w2) = (vec![0.0; 12], vec![0.0; 4]);
    for (x, y) in X.iter().zip(Y) {
        let a1: [f64; 4] = std::array::from_fn(|j| sigmoid((0..3).map(|i| x[i] * w1[i * 4 + j]).sum()));
        let a2 = sigmoid((0..4).map(|j| a1[j] * w2[j]).sum());
        let delta2 = (y - a2) * a2 * (1.0 - a2); // `dC_dw2`
        for j in 0..4 {
            let delta1 = delta2 * w2[j] * a1[j] * (1.0 - a1[j]); // `dC_dw1`
            for_w2[j] += a1[j] * delta2;
            (0..3).for_each(|i| for_w1[i * 4 + j] += x[i] * delta1);
        }
    }
    [for_w1, for_w2]
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut random = RandomState::new(1); // np.random.seed(1)
    let (first, second) = (random.random_sample(12), random.random_sample(4));
    let hand = by_hand(&first, &second);

    let tape = Tape::new();
    let (x, y) = (tape.constant(X), tape.constant(Y).reshape([4, 1]));
    let w1 = tape.param(Tensor::new([3, 4], first)?).named("w1");
    let w2 = tape.param(Tensor::new([4, 1], second)?).named("w2");
    let a1 = x.matmul(w1).sigmoid();
    let z2 = a1.matmul(w2);
    let a2 = z2.sigmoid();
    let cost = 0.5 * (y - a2).square().sum();

    // What the program calls `dC_dw2` has a row per example. It is the derivative by the sum z2, with the sign turned.
    let [by_z2, by_w1, by_w2] = tape.grad(cost, &[z2, w1, w2])[..] else { unreachable!("three were asked for") };
    println!("dC/dz2, shape {}: {:.4}", by_z2.shape(), by_z2.value());
    // z2 = a1·w2, so the derivative by w2 is a1ᵀ times it: each weight hears from every example, by what it carried.
    println!("dC/dw2, shape {}: {:.4}", by_w2.shape(), by_w2.value());
    assert_eq!(a1.transpose().matmul(by_z2).value().data(), by_w2.value().data());
    // And the sign: the program starts from y - a2, which is minus the slope of the cost. So it must add.
    let equals_minus = |gradient: Var, hand: &[f64]| {
        // Relative 1e-12: sums in another order, σ' in another form.
        gradient.value().data().iter().zip(hand).all(|(g, h)| (g + h).abs() <= 1e-12 * h.abs())
    };
    assert!(equals_minus(by_w1, &hand[0]) && equals_minus(by_w2, &hand[1]));

    tape.assign(w1, w1 - by_w1);
    tape.assign(w2, w2 - by_w2);
    let program = tape.compile::<f64>(&[cost, a2])?;
    let mut state = program.state();
    let wanted = [
        (1000, [0.027584569834385664, 0.9249026828973756, 0.9247200031949275, 0.09004723987502583]),
        (10_000, [0.0041122271045012215, 0.9853113873624446, 0.985256616814229, 0.01702518220569542]),
    ];
    let mut steps = 0;
    for (until, outputs) in wanted {
        (steps..until).try_for_each(|_| program.replay(&mut state))?;
        steps = until;
        println!("after {until:>6} steps: cost {:.6}, outputs {:?}", state.item(cost), state.get(a2));
        for (got, wanted) in state.get(a2).iter().zip(outputs) {
            assert!((got / wanted - 1.0).abs() < 1e-12);
        }
    }
    Ok(())
}
