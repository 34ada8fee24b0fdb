//! Hamiltonian Monte Carlo: a whole trajectory of a sampler, with its gradients, is one program, mapped over a thousand chains.
//! The model is hierarchical, and normal throughout, so the moments of its posterior are known.

use std::error::Error;
use tapegrad::{Tape, Var};
use tapegrad_nn::random::Rng;

/// What was measured in five groups, and how exactly.
const DATA: [(f64, f64); 5] = [(2.8, 1.0), (0.8, 1.5), (-0.3, 0.7), (4.1, 1.2), (1.8, 2.0)];
/// The groups' means scatter by this about a common one, which is within [`WIDE`] of 0.
const SCATTER: f64 = 2.0;
const WIDE: f64 = 10.0;

/// The negative logarithm of the posterior density, but for a constant.
fn potential(q: &[Var]) -> Var {
    let groups = q[1..]
        .iter()
        .zip(DATA)
        .map(|(&mean, (measured, error))| ((mean - q[0]) / SCATTER).square() + ((measured - mean) / error).square());
    0.5 * (groups.sum::<Var>() + (q[0] / WIDE).square())
}

/// Records leapfrog steps from a place and a momentum; gives where they end, and the energies before and after.
fn trajectory(tape: &Tape, place: &[Var], momentum: &[Var]) -> Vec<Var> {
    const STEP: f64 = 0.45;
    let (mut q, mut p) = (place.to_vec(), momentum.to_vec());
    let kick = |q: &[Var], p: &mut Vec<Var>| {
        let slopes = tape.grad(potential(q), q);
        p.iter_mut().zip(slopes).for_each(|(p, slope)| *p -= 0.5 * STEP * slope);
    };
    for _ in 0..6 {
        kick(&q, &mut p);
        q.iter_mut().zip(&p).for_each(|(q, &p)| *q += STEP * p);
        kick(&q, &mut p);
    }
    let energy = |q: &[Var], p: &[Var]| potential(q) + 0.5 * p.iter().map(|p| p.square()).sum::<Var>();
    let energies = [energy(place, momentum), energy(&q, &p)];
    q.into_iter().chain(energies).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    const CHAINS: usize = 1024;
    let tape = Tape::new();
    // The common mean and those of the groups, then their momenta.
    let x: Vec<Var> = (0..12).map(|_| tape.input(0.0)).collect();
    let mut map = tape.compile_map::<f64>(&x, &trajectory(&tape, &x[..6], &x[6..]))?;
    let (mut rng, mut samples) = (Rng::seed(1), Vec::new());
    let (mut columns, mut results) = (vec![vec![0.0; CHAINS]; 12], vec![vec![0.0; CHAINS]; 8]);
    for iteration in 0..400 {
        columns[6..].iter_mut().flatten().for_each(|p| *p = rng.normal(0.0, 1.0));
        let inputs: Vec<&[f64]> = columns.iter().map(|column| &column[..]).collect();
        map.run(&inputs, &mut results.iter_mut().map(|column| &mut column[..]).collect::<Vec<_>>())?;
        for chain in 0..CHAINS {
            if rng.unit() < (results[6][chain] - results[7][chain]).exp() {
                (0..6).for_each(|k| columns[k][chain] = results[k][chain]);
            }
            if iteration >= 50 {
                samples.push([0, 1, 2, 3, 4, 5].map(|k: usize| columns[k][chain]));
            }
        }
    }

    // A group's measurement scatters about the common mean with both variances.
    let weights = DATA.map(|(_, error)| 1.0 / (SCATTER * SCATTER + error * error));
    let variance = 1.0 / (1.0 / (WIDE * WIDE) + weights.iter().sum::<f64>());
    let mean = variance * weights.iter().zip(DATA).map(|(w, (measured, _))| w * measured).sum::<f64>();
    let groups = weights.iter().zip(DATA).map(|(w, (measured, error))| {
        let share = error * error * w; // of the common mean in that of the group
        (share * mean + (1.0 - share) * measured, share * SCATTER * SCATTER + share * share * variance)
    });
    for (k, (mean, variance)) in [(mean, variance)].into_iter().chain(groups).enumerate() {
        let average = |f: &dyn Fn(f64) -> f64| samples.iter().map(|q| f(q[k])).sum::<f64>() / samples.len() as f64;
        let found = average(&|q| q);
        let (spread, wanted) = (average(&|q| (q - found).powi(2)).sqrt(), variance.sqrt());
        println!("unknown {k}: {found:.3} ± {spread:.3}, exactly {mean:.3} ± {wanted:.3}");
        assert!((found - mean).abs() < 0.02 * wanted && (spread / wanted - 1.0).abs() < 0.02);
    }
    Ok(())
}
