//! "Our cost decreases from 7.87 to 7.63": it does, and half of the weights will never move. The tape says which factor
//! is to blame, and two repairs learn.

use std::error::Error;
use tapegrad::{Program, State, Tape, Var};

const X: [f64; 3] = [2.0, 4.0, -2.0];
const W: [[f64; 2]; 3] = [[-1.0, 0.5], [-1.0, 0.25], [0.9348, -0.5]];

/// `np.dot(X.T, dcost * dy_o)`, as posted, for label 0.
fn by_hand() -> [[f64; 2]; 3] {
    let y: [f64; 2] = std::array::from_fn(|j| (0..3).map(|i| X[i] * W[i][j]).sum());
    let sigmoid = y.map(|y: f64| 1.0 / (1.0 + (-y).exp()));
    let dcost = [-1.0 / sigmoid[0], 0.0];
    let dgrad: [f64; 2] = std::array::from_fn(|j| dcost[j] * sigmoid[j] * (1.0 - sigmoid[j]));
    X.map(|x| dgrad.map(|d| x * d))
}

/// The loss of a row of sums y for the label p, one-hot.
type Loss = fn(p: Var, y: Var) -> Var;

const POSTED: Loss = |p, y| -(p * y.sigmoid().ln()).sum();
const BOTH_OUTPUTS: Loss = |p, y| -(p * y.sigmoid().ln() + (1.0 - p) * (1.0 - y.sigmoid()).ln()).sum();
const SOFTMAX: Loss = |p, y| -(p * y.softmax(-1).ln()).sum();

/// A compiled step from these weights at rate 0.01: (program, its state, loss, gradient).
fn step(loss: Loss, w: [[f64; 2]; 3]) -> Result<(Program<f64>, State<f64>, Var, Var), Box<dyn Error>> {
    let tape = Tape::new();
    let w = tape.param(w).named("W");
    let loss = loss(tape.constant([[1.0, 0.0]]), tape.constant([X]).matmul(w));
    let gradient = tape.grad(loss, &[w])[0];
    tape.assign(w, w - 0.01 * gradient);
    let program = tape.compile(&[loss, gradient])?;
    let state = program.state();
    Ok((program, state, loss, gradient))
}

fn main() -> Result<(), Box<dyn Error>> {
    let (program, mut state, loss, gradient) = step(POSTED, W)?;
    program.replay(&mut state)?;
    let before = state.item(loss);
    println!("gradient as posted: {}", state.tensor(gradient)?);
    for (g, h) in state.get(gradient).iter().zip(by_hand().as_flattened()) {
        // Relative 1e-12: the tape differentiates softplus(-y), the hand divides σ(1-σ) by σ.
        assert!((g - h).abs() <= 1e-12 * h.abs());
    }
    println!("its second column is exactly 0: the cost reads q2 only in p2·ln(q2), and p2 is 0");
    assert!(state.get(gradient).chunks(2).all(|row| row[0] != 0.0 && row[1] == 0.0));
    program.replay(&mut state)?;
    println!("loss {before:.2} -> {:.2}", state.item(loss));
    assert!((before / 7.869982114191584 - 1.0).abs() < 1e-14);
    assert!((state.item(loss) / 7.630177382534668 - 1.0).abs() < 1e-14);

    // Two outputs that must agree on one label: either each is asked yes or no, or they share one probability.
    let wanted = [10.462255225557415, 10.389639883135597];
    for ((name, repaired), wanted) in [("both outputs", BOTH_OUTPUTS), ("softmax", SOFTMAX)].into_iter().zip(wanted) {
        let (program, mut state, loss, gradient) = step(repaired, W)?;
        program.replay(&mut state)?;
        let (before, moves) = (state.item(loss), state.get(gradient).iter().all(|g| *g != 0.0));
        program.replay(&mut state)?;
        let after = state.item(loss);
        (2..=1000).try_for_each(|_| program.replay(&mut state))?;
        println!("{name}: loss {before:.2} -> {after:.2}, after 1000 steps {:.6}", state.item(loss));
        assert!(moves && (after / wanted - 1.0).abs() < 1e-12);
    }

    // At y = -800 the posted program prints `inf`, then `nan` for ever; recorded, the same formula is stable.
    let (program, mut state, loss, gradient) = step(POSTED, [[-100.0, 0.0], [-100.0, 0.0], [100.0, 0.0]])?;
    program.replay(&mut state)?;
    println!("at y = -800: loss {}, gradient {}", state.item(loss), state.tensor(gradient)?);
    assert_eq!(state.item(loss), 800.0);
    assert_eq!(state.get(gradient), &[-2.0, 0.0, -4.0, 0.0, 2.0, 0.0]);
    Ok(())
}
