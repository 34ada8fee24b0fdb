//! Inverse kinematics: the seven joints of a robot's arm, found by the L-BFGS of `argmin`. The closure becomes its problem as it
//! is, and one replay gives it cost and gradient.

use argmin::core::{Executor, State};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;
use std::error::Error;
use tapegrad::{Objective, Scalar};

/// A vector in space.
type Space<R> = [R; 3];

/// Where the hand is and where it points, for seven joint angles: each joint turns about the axis its link lies along, and
/// every link stands at a right angle to the one before, as on a KUKA iiwa.
fn hand<R: Scalar>(angles: &[R]) -> (Space<R>, Space<R>) {
    const LINKS: [f64; 7] = [0.34, 0.0, 0.4, 0.0, 0.4, 0.0, 0.126];
    const TURNS: [f64; 7] = [-1.0, 1.0, 1.0, -1.0, -1.0, 1.0, 0.0];
    let number = |x: f64| angles[0].lit(x);
    let add = |a: Space<R>, b: Space<R>, p: R, q: R| [0, 1, 2].map(|i| a[i] * p + b[i] * q);
    let (mut x, mut y, mut z) = ([1.0, 0.0, 0.0].map(number), [0.0, 1.0, 0.0].map(number), [0.0, 0.0, 1.0].map(number));
    let mut place = [number(0.0); 3];
    for ((&angle, length), turn) in angles.iter().zip(LINKS).zip(TURNS) {
        let (sin, cos) = (angle.sin(), angle.cos());
        (x, y) = (add(x, y, cos, sin), add(x, y, -sin, cos));
        place = add(place, z, number(1.0), number(length));
        if turn != 0.0 {
            (y, z) = (z.map(|z| z * turn), y.map(|y| y * -turn));
        }
    }
    (place, z)
}

fn squared_distance<R: Scalar>(a: Space<R>, b: Space<f64>) -> R {
    [0, 1, 2].map(|i| (a[i] - b[i]).square()).into_iter().sum()
}

fn main() -> Result<(), Box<dyn Error>> {
    // Places that can be reached, since some angles reach them.
    let targets = [[0.5, 0.8, -0.3, 1.2, 0.4, -0.7, 0.2], [-1.1, 0.4, 0.6, 0.9, -0.5, 1.1, 0.0]];
    for target in targets.map(|angles| hand(&angles)) {
        let problem = Objective::<_>::new(move |angles| {
            let (place, axis) = hand(angles);
            squared_distance(place, target.0) + 0.1 * squared_distance(axis, target.1)
        });
        let solver = LBFGS::new(MoreThuenteLineSearch::new(), 8).with_tolerance_grad(1e-10)?;
        let start = vec![0.1, 0.3, -0.1, 0.5, 0.1, 0.3, 0.1];
        let result = Executor::new(problem, solver).configure(|state| state.param(start).max_iters(300)).run()?;
        let angles = result.state().get_best_param().ok_or("no angles were found")?;
        let (place, axis) = hand(angles);
        let (miss, turn) = (squared_distance(place, target.0).sqrt(), squared_distance(axis, target.1).sqrt());
        let (steps, calls) =
            (result.state().get_iter(), result.problem.problem.as_ref().map_or(0, |p| p.evaluations()));
        println!("angles {angles:.3?} after {steps} steps and {calls} replays: {:.1e} m away", miss);
        assert!(miss < 1e-6 && turn < 1e-5);
    }
    Ok(())
}
