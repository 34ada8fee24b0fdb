//! Newton's method in 200 dimensions without ever forming a Hessian: conjugate gradients ask only for its products with
//! vectors, and `hvp` gives each for the price of a few gradients.

use std::error::Error;
use tapegrad::{Tape, Tensor, Var};

/// Rosenbrock's valley in any number of dimensions; the minimum is at (1, …, 1).
fn rosenbrock(p: Var) -> Var {
    let n = p.shape().numel();
    let (a, b) = (p.slice(0, 0..n - 1), p.slice(0, 1..n));
    (100.0 * (b - a.square()).square() + (1.0 - a).square()).sum()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// a + c·b
fn add(a: &[f64], c: f64, b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + c * b).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    const N: usize = 200;
    let tape = Tape::new();
    let (p, v) = (tape.input(Tensor::zeros([N])), tape.input(Tensor::zeros([N])));
    let f = rosenbrock(p);
    let g = tape.grad(f, &[p])[0];
    let hv = tape.hvp(f, &[p], &[v])[0];
    let (value, product) = (tape.compile::<f64>(&[f, g])?, tape.compile::<f64>(&[hv])?);
    let (mut at, mut times) = (value.state(), product.state());
    println!("f and its gradient: {} instructions; H·v: {}", value.instructions(), product.instructions());

    let mut x = vec![0.5; N];
    let mut products = 0;
    for iteration in 0..200 {
        at.set(p, &x)?;
        value.replay(&mut at)?;
        let (f0, gradient) = (at.item(f), at.get(g).to_vec());
        let size = dot(&gradient, &gradient).sqrt();
        println!("{iteration:>3}  f = {f0:.3e}  |g| = {size:.1e}  products so far {products}");
        if size < 1e-10 {
            break;
        }
        // H·step = -g, the more exactly the nearer the end.
        times.set(p, &x)?;
        let (mut step, mut r) = (vec![0.0; N], gradient.iter().map(|g| -g).collect::<Vec<_>>());
        let mut d = r.clone();
        while dot(&r, &r).sqrt() > size * size.sqrt().min(0.1) {
            times.set(v, &d)?;
            product.replay(&mut times)?;
            products += 1;
            let (hd, rr) = (times.get(hv), dot(&r, &r));
            let curvature = dot(&d, hd);
            if curvature <= 0.0 {
                // Not convex here: what there is so far goes down, and the gradient does.
                step = if dot(&step, &step) == 0.0 { d } else { step };
                break;
            }
            (step, r) = (add(&step, rr / curvature, &d), add(&r, -rr / curvature, hd));
            d = add(&r, dot(&r, &r) / rr, &d);
        }
        // Half the step until it goes down enough.
        let enough = |f1: f64, length: f64| f1 <= f0 + 1e-4 * length * dot(&gradient, &step) || length < 1e-12;
        let mut length = 2.0;
        while !enough(at.item(f), length) || length == 2.0 {
            length *= 0.5;
            at.set(p, &add(&x, length, &step))?;
            value.replay(&mut at)?;
        }
        x = add(&x, length, &step);
    }
    assert!(x.iter().all(|x| (x - 1.0).abs() < 1e-8));
    Ok(())
}
