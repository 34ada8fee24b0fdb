//! Every optimiser against its formula in plain Rust, and every loss and optimiser together against finite differences.
#![allow(clippy::unwrap_used)]

use crate::common::{CASES, Case, Plain, Rule, reduce, richardson, sigmoid};
use tapegrad::{Tape, Tensor, Var};
use tapegrad_nn::optim::{Adam, AdamW, Momentum, Nesterov, RmsProp, Sgd, Update};
use tapegrad_nn::{Loss, Optimizer, Reduction};

fn optimizers() -> Vec<(Box<dyn Optimizer>, Rule)> {
    vec![
        (Box::new(Sgd::new()), |p, g, lr| p.w -= lr * g),
        (Box::new(Sgd { weight_decay: 0.1 }), |p, g, lr| p.w -= lr * (g + 0.1 * p.w)),
        (Box::new(Momentum::new(0.8)), |p, g, lr| {
            p.a = 0.8 * p.a + g;
            p.w -= lr * p.a;
        }),
        (Box::new(Momentum { momentum: 0.9, weight_decay: 0.05 }), |p, g, lr| {
            p.a = 0.9 * p.a + g + 0.05 * p.w;
            p.w -= lr * p.a;
        }),
        (Box::new(Nesterov { momentum: 0.9, weight_decay: 0.05 }), |p, g, lr| {
            let g = g + 0.05 * p.w;
            p.a = 0.9 * p.a + g;
            p.w -= lr * (g + 0.9 * p.a);
        }),
        (Box::new(RmsProp::default()), |p, g, lr| {
            p.a = 0.99 * p.a + 0.01 * g * g;
            p.w -= lr * g / (p.a.sqrt() + 1e-8);
        }),
        (Box::new(RmsProp { alpha: 0.9, epsilon: 1e-3, momentum: 0.7, weight_decay: 0.02 }), |p, g, lr| {
            let g = g + 0.02 * p.w;
            p.a = 0.9 * p.a + 0.1 * g * g;
            p.b = 0.7 * p.b + g / (p.a.sqrt() + 1e-3);
            p.w -= lr * p.b;
        }),
        (Box::new(Adam::default()), |p, g, lr| adam(p, g, lr)),
        (Box::new(Adam { weight_decay: 0.1, ..Adam::default() }), |p, g, lr| adam(p, g + 0.1 * p.w, lr)),
        (Box::new(Adam { beta1: 0.0, beta2: 0.5, epsilon: 0.1, weight_decay: 0.0 }), |p, g, lr| {
            p.t += 1;
            p.b = 0.5 * p.b + 0.5 * g * g;
            p.w -= lr * g / ((p.b / (1.0 - 0.5_f64.powi(p.t))).sqrt() + 0.1);
        }),
        (Box::new(AdamW::default()), |p, g, lr| {
            p.w *= 1.0 - lr * 0.01;
            adam(p, g, lr);
        }),
    ]
}

/// Algorithm 1 of Kingma and Ba, 2015.
fn adam(p: &mut Plain, g: f64, lr: f64) {
    p.t += 1;
    p.a = 0.9 * p.a + 0.1 * g;
    p.b = 0.999 * p.b + 0.001 * g * g;
    let (m, v) = (p.a / (1.0 - 0.9_f64.powi(p.t)), p.b / (1.0 - 0.999_f64.powi(p.t)));
    p.w -= lr * m / (v.sqrt() + 1e-8);
}

const START: [f64; 3] = [1.0, -2.0, 0.5];

/// A gradient for step `k` that changes sign and size.
fn gradient(k: usize) -> [f64; 3] {
    let k = k as f64;
    [(k * 0.7).sin(), 0.3 * (k * 1.3).cos() - 0.1, 1e-3 * (k + 1.0)]
}

#[test]
fn fifty_steps_of_every_optimiser_follow_its_formula() {
    for (optimizer, rule) in optimizers() {
        optimizer.check().unwrap();
        let tape = Tape::new();
        let (w, lr) = (tape.param(START).named("w"), tape.input(0.0));
        let g = tape.input([0.0; 3]);
        let state_vars = optimizer.record(&tape, &[w], &[g], lr);
        assert_eq!(state_vars.slots(0).len(), optimizer.slots().len());
        let program = tape.compile::<f64>(&[]).unwrap();
        let single = tape.compile::<f32>(&[]).unwrap();
        let (mut state, mut small) = (program.state(), single.state());
        let mut plain = START.map(|w| Plain { w, ..Plain::default() });
        for k in 0..50 {
            let rate = 0.1 / (1.0 + 0.05 * k as f64);
            state.set(g, &gradient(k)).unwrap();
            state.set_scalar(lr, rate).unwrap();
            program.replay(&mut state).unwrap();
            small.set(g, &gradient(k).map(|x| x as f32)).unwrap();
            small.set_scalar(lr, rate as f32).unwrap();
            single.replay(&mut small).unwrap();
            for (i, plain) in plain.iter_mut().enumerate() {
                rule(plain, gradient(k)[i], rate);
                let (wanted, name) = (plain.w, optimizer.name());
                let (got, got32) = (state.get(w)[i], f64::from(small.get(w)[i]));
                assert!((got - wanted).abs() < 1e-13, "{name}, step {k}, weight {i}: {got}, not {wanted}");
                assert!((got32 - wanted).abs() < 2e-5, "{name} in f32, step {k}, weight {i}: {got32}, not {wanted}");
            }
        }
    }
}

#[test]
fn adams_correction_is_accurate_from_the_first_step_in_f32() {
    // With a constant gradient the corrected moments are g and g², so every step is lr·g/(|g| + ε).
    let tape = Tape::new();
    let (w, lr) = (tape.param(0.0), tape.input(1.0));
    Adam::default().record(&tape, &[w], &[tape.constant(2.0)], lr);
    let program = tape.compile::<f32>(&[]).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    assert!((state.item(w) + 1.0).abs() < 5e-7, "{}", state.item(w));
    for _ in 1..20_000 {
        program.replay(&mut state).unwrap();
    }
    assert!((state.item(w) + 20_000.0).abs() < 0.1, "{}", state.item(w));
}

/// A network of one layer and the loss of its prediction for four rows: prediction = x·w (+ σ), w of shape [2, 3].
fn record(tape: &Tape, case: &Case, reduction: Reduction) -> (Var, Var) {
    let (x, w) = (tape.input(X), tape.param(W));
    let z = x.matmul(w);
    let p = if case.loss == Loss::Bce { z.sigmoid() } else { z };
    let target = match case.labels {
        Some(labels) => tape.index_input(labels),
        None => tape.input(Tensor::new([4, 3], case.target.to_vec()).unwrap()),
    };
    (w, case.loss.record(p, target, reduction))
}

const X: [[f64; 2]; 4] = [[0.5, -1.0], [1.5, 0.25], [-0.75, 1.0], [0.1, 0.6]];
const W: [[f64; 3]; 2] = [[0.2, -0.4, 0.9], [-0.7, 0.35, 0.1]];

/// The same loss in plain Rust.
fn plain_loss(case: &Case, reduction: Reduction, w: &[f64]) -> f64 {
    let z = X.iter().flat_map(|x| (0..3).map(|j| x[0] * w[j] + x[1] * w[3 + j]));
    let p: Vec<f64> = z.map(|z| if case.loss == Loss::Bce { sigmoid(z) } else { z }).collect();
    reduce(reduction, &case.terms(&p))
}

#[test]
fn training_through_every_loss_and_optimiser_agrees_with_finite_differences() {
    for case in &CASES {
        for reduction in [Reduction::Sum, Reduction::Mean] {
            for (optimizer, rule) in optimizers() {
                let tape = Tape::new();
                let (w, loss) = record(&tape, case, reduction);
                let grads = tape.grad(loss, &[w]);
                let lr = tape.input(0.02);
                optimizer.record(&tape, &[w], &grads, lr);
                let program = tape.compile::<f64>(&[loss]).unwrap();
                let mut state = program.state();
                let mut plain: Vec<Plain> = W.as_flattened().iter().map(|&w| Plain { w, ..Plain::default() }).collect();
                for step in 0..6 {
                    program.replay(&mut state).unwrap();
                    let at: Vec<f64> = plain.iter().map(|p| p.w).collect();
                    for (i, p) in plain.iter_mut().enumerate() {
                        let moved = |x: f64| {
                            let mut w = at.clone();
                            w[i] = x;
                            plain_loss(case, reduction, &w)
                        };
                        rule(p, richardson(moved, at[i]), 0.02);
                    }
                    for (got, wanted) in state.get(w).iter().zip(&plain) {
                        let (loss, name) = (case.loss, optimizer.name());
                        let error = (got - wanted.w).abs();
                        assert!(error < 1e-9, "{loss} {reduction:?} {name}, step {step}: {got}, not {}", wanted.w);
                    }
                }
            }
        }
    }
}

#[test]
fn one_can_differentiate_through_an_optimiser_step() {
    for (optimizer, rule) in optimizers() {
        let tape = Tape::new();
        let (w, lr, step) = (tape.param(1.5), tape.input(0.1), tape.input(3.0));
        let slots: Vec<Var> = optimizer.slots().iter().map(|_| tape.param(0.4)).collect();
        let grad = tape.grad(w.powi(4), &[w])[0];
        let next = optimizer.update(&Update { param: w, grad, slots: &slots, lr, step }).param;
        let derivatives = tape.grad(next, &[lr, w]);
        let after = |w: f64, lr: f64| {
            // Slots by name, as the plain rules keep them: momentum of RMSProp and v of Adam are the second.
            let mut p = Plain { w, a: 0.4, b: 0.4, t: 2 };
            rule(&mut p, 4.0 * w.powi(3), lr);
            p.w
        };
        let wanted = [richardson(|lr| after(1.5, lr), 0.1), richardson(|w| after(w, 0.1), 1.5)];
        for (got, wanted) in derivatives.iter().zip(wanted) {
            let got = got.item();
            assert!((got - wanted).abs() < 1e-8 * wanted.abs().max(1.0), "{}: {got}, not {wanted}", optimizer.name());
        }
    }
}

#[test]
fn settings_outside_their_range_are_refused() {
    let message = |o: &dyn Optimizer| o.check().unwrap_err().to_string();
    assert_eq!(
        message(&Adam { beta2: 1.0, ..Adam::default() }),
        "adam: expected beta2 at least 0 and below 1, found 1"
    );
    assert_eq!(
        message(&AdamW { weight_decay: f64::NAN, ..AdamW::default() }),
        "adamw: expected weight_decay at least 0 and finite, found NaN"
    );
    assert!(message(&Sgd { weight_decay: -1.0 }).starts_with("sgd: expected weight_decay"));
    assert!(message(&Momentum::new(1.5)).starts_with("momentum: expected momentum"));
    assert!(message(&Nesterov::new(-0.1)).starts_with("nesterov: expected momentum"));
    assert!(
        message(&RmsProp { epsilon: f64::INFINITY, ..RmsProp::default() }).starts_with("rmsprop: expected epsilon")
    );
}

#[test]
#[should_panic(expected = "sgd: expected 1 gradients, one per parameter, found 0")]
fn a_missing_gradient_panics() {
    let tape = Tape::new();
    let w = tape.param(1.0);
    Sgd::new().record(&tape, &[w], &[], tape.input(0.1));
}

#[test]
#[should_panic(expected = "sgd: expected a gradient of shape [2]")]
fn a_gradient_that_would_broadcast_panics() {
    let tape = Tape::new();
    let w = tape.param([1.0, 2.0]);
    Sgd::new().record(&tape, &[w], &[tape.input(1.0)], tape.input(0.1));
}
