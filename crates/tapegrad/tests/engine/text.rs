//! What graphs and programs look like: their text and their drawings, as golden files in `golden/text`.
//!
//! Golden files are rewritten with `TAPEGRAD_UPDATE_GOLDEN=1 cargo test -p tapegrad --test engine text`.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use tapegrad::{CompileOptions, Program, Tape, Var};

/// Compares with a golden file, or rewrites it. Lines of this file are not part of it.
fn golden(name: &str, text: &str) {
    let mut parts = text.split(concat!(file!(), ":"));
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        text += &format!("text.rs{}", part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':'));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/text").join(name);
    if std::env::var_os("TAPEGRAD_UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        return;
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    let first = text.lines().zip(wanted.lines()).position(|(a, b)| a != b);
    let line = first.unwrap_or_else(|| text.lines().count().min(wanted.lines().count()));
    assert!(
        text == wanted,
        "{name} differs from line {} on (TAPEGRAD_UPDATE_GOLDEN=1 accepts)\n--- golden\n{wanted}\n--- now\n{text}",
        line + 1
    );
}

/// All four renderings of a recording.
fn check(name: &str, tape: &Tape, outputs: &[Var]) {
    let steps = CompileOptions::default().machine_code(false);
    let program: Program<f64> = tape.compile_with(outputs, &steps).unwrap();
    golden(&format!("{name}.graph.txt"), &tape.graph().to_string());
    golden(&format!("{name}.graph.dot"), &tape.graph().to_dot());
    golden(&format!("{name}.program.txt"), &program.to_string());
    golden(&format!("{name}.program.dot"), &program.to_dot());
}

#[test]
fn a_scalar_formula_with_its_gradient() {
    let tape = Tape::new();
    let (x, y) = (tape.input(1.0).named("x"), tape.input(2.0).named("y"));
    let f = (x.sin() * y + (-x.square()).exp()).named("f");
    let gradient = tape.grad(f, &[x, y]);
    check("formula", &tape, &[f, gradient[0].named("df/dx"), gradient[1].named("df/dy")]);
}

#[test]
fn one_training_step_of_a_network() {
    let tape = Tape::new();
    let x = tape.input([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]).named("x");
    let y = tape.input([[0.0], [1.0], [1.0], [0.0]]).named("y");
    let rate = tape.input(0.5).named("rate");
    let w1 = tape.param([[0.62, -0.81, 0.3], [0.55, -0.73, 0.1]]).named("w1");
    let b1 = tape.param([-0.15, 0.21, 0.0]).named("b1");
    let w2 = tape.param([[0.92], [0.87], [-0.4]]).named("w2");
    let b2 = tape.param([-0.3]).named("b2");
    let hidden = (x.matmul(w1) + b1).tanh().named("hidden");
    let output = (hidden.matmul(w2) + b2).sigmoid().named("output");
    let loss = (output - y).square().mean().named("loss");
    let params = [w1, b1, w2, b2];
    for (&p, g) in params.iter().zip(tape.grad(loss, &params)) {
        tape.assign(p, p - rate * g);
    }
    check("mlp_step", &tape, &[loss]);
}

#[test]
fn a_minibatch_with_softmax_cross_entropy() {
    let tape = Tape::new();
    let data = tape.input([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6], [0.7, 0.8]]).named("data");
    let labels = tape.index_input([0, 2, 1, 2]).named("labels");
    let batch = tape.index_input([3, 0]).named("batch");
    let w = tape.param([[0.1, -0.2, 0.3], [0.0, 0.2, -0.1]]).named("w");
    let scores = data.gather(batch).matmul(w).log_softmax(-1).named("scores");
    let picked = (scores * labels.gather(batch).one_hot(3)).sum_over(&[1]);
    let loss = (-picked.mean()).named("loss");
    let gradient = tape.grad(loss, &[w])[0].named("dw");
    check("minibatch", &tape, &[loss, gradient]);
}

#[test]
fn a_branch_is_shown_where_it_is_checked() {
    let tape = Tape::new();
    let (x, w) = (tape.input(2.0).named("x"), tape.param(3.0).named("w"));
    let y = if x > 1.0 { x * w } else { -x };
    tape.assign(w, w + y);
    let steps = CompileOptions::default().machine_code(false);
    let program: Program<f32> = tape.compile_with(&[y], &steps).unwrap();
    golden("branch.program.txt", &program.to_string());
}

#[test]
fn names_with_quotes_and_line_breaks_keep_the_drawing_valid() {
    let tape = Tape::new();
    let x = tape.input(2.0).named("a \"quoted\\\" name\nof two lines");
    let drawing = (x * x).named("{x|y}").id();
    let dot = tape.graph().to_dot();
    assert!(tape.graph().get(drawing).is_some());
    assert!(dot.contains(r#"a \"quoted\\\" name\nof two lines"#), "{dot}");
    // Nothing breaks out of its line: every statement ends as it should.
    assert!(dot.lines().all(|l| l.ends_with(['{', '}', ';'])), "{dot}");
}
