//! Nothing is hidden: the recording, and the program it becomes, print as text.

use std::error::Error;
use tapegrad::{CompileOptions, Passes, Tape};

fn main() -> Result<(), Box<dyn Error>> {
    let tape = Tape::new();
    let x = tape.input([[0.0, 1.0], [1.0, 0.0]]).named("x");
    let t = tape.input([[1.0], [0.0]]).named("t");
    let w = tape.param([[0.5], [-0.5]]).named("w");

    let p = x.matmul(w).sigmoid();
    let loss = -(t * p.ln() + (1.0 - t) * (1.0 - p).ln()).sum();
    println!("RECORDED: the loss, one operation per line\n\n{}", tape.graph());

    let gradient = tape.grad(loss, &[w])[0];
    tape.assign(w, w - 0.1 * gradient);
    println!("DIFFERENTIATED: ln(p) became a softplus first, because ln has no slope where p is 0\n\n{}", tape.graph());

    let program = tape.compile::<f64>(&[loss])?;
    println!("COMPILED: transposes are strides, elementwise work is fused, the update is in place\n\n{program}");

    // Without the passes there is more to do for the same result.
    let plain = tape.compile_with::<f64>(&[loss], &CompileOptions::default().passes(Passes::none()))?;
    println!(
        "instructions: {} with the passes, {} without; numbers in a state: {} and {}",
        program.instructions(),
        plain.instructions(),
        program.arena_len(),
        plain.arena_len()
    );
    println!("and as a drawing: `tape.graph().to_dot()` and `program.to_dot()`, for Graphviz");

    assert!(program.instructions() < plain.instructions());
    assert!(program.to_dot().starts_with("digraph"));
    let (mut a, mut b) = (program.state(), plain.state());
    program.replay(&mut a)?;
    plain.replay(&mut b)?;
    assert!((a.item(loss) - b.item(loss)).abs() < 1e-15);
    Ok(())
}
