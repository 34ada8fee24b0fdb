//! Branches: an `if` on a recorded value is fixed, and guarded; `select` is the branch that replays.

use std::error::Error;
use tapegrad::{Tape, Var};

/// Huber's loss of one number: a parabola near 0, a straight line beyond.
#[expect(clippy::manual_range_contains, reason = "each comparison is a guard of its own")]
fn huber(x: Var) -> Var {
    if x <= 1.0 && x >= -1.0 { 0.5 * x.square() } else { x.abs() - 0.5 }
}

fn main() -> Result<(), Box<dyn Error>> {
    let tape = Tape::new();
    let x = tape.input(0.5).named("x");
    let y = huber(x); // takes the parabola, and remembers why
    let slope = tape.grad(y, &[x])[0];
    let program = tape.compile::<f64>(&[y, slope])?;
    let mut state = program.state();

    for value in [0.5, -0.9] {
        state.set_scalar(x, value)?;
        program.replay(&mut state)?;
        println!("huber({value}) = {}, slope {}", state.item(y), state.item(slope));
        assert_eq!((state.item(y), state.item(slope)), (0.5 * value * value, value));
    }
    // For 3 the parabola would be wrong. Nothing is returned, and no parameter is touched.
    state.set_scalar(x, 3.0)?;
    let error = program.replay(&mut state).expect_err("3 is not on the parabola");
    println!("huber(3): {error}");
    assert!(error.to_string().contains("was true when recorded, false now"));

    // `select` records both sides and picks one on every replay, for each element by itself.
    let tape = Tape::new();
    let x = tape.input([0.5, -0.9, 3.0, -4.0]).named("x");
    let near = x.abs().less_equal(x.scalar(1.0));
    let y = near.select(0.5 * x.square(), x.abs() - 0.5);
    let slopes = tape.grad(y.sum(), &[x])[0];
    println!("\nwith select: {} with slopes {}", y.value(), slopes.value());
    assert_eq!(slopes.value().data(), &[0.5, -0.9, 1.0, -1.0]);

    // The side not taken has no influence, not even as NaN: √x has none below 0, and an infinite slope at 0.
    let x = tape.input([-1.0, 0.0, 4.0]);
    let root = x.greater(x.scalar(0.0)).select(x.sqrt(), x.scalar(0.0));
    let slopes = tape.grad(root.sum(), &[x])[0];
    println!("√x where x > 0, else 0: {} with slopes {}", root.value(), slopes.value());
    assert_eq!(slopes.value().data(), &[0.0, 0.0, 0.25]);
    Ok(())
}
