//! Other crates' solvers and matrices: `argmin` minimises closures, and `nalgebra`'s matrices are values and columns.
#![allow(clippy::unwrap_used)]

use argmin::core::{CostFunction, Executor, Gradient, Hessian, State};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;
use nalgebra::{DMatrix, DVector, Matrix2x3, Vector3};
use ndarray::{Array1, arr1, arr2};
use std::cell::Cell;
use tapegrad::{Objective, Tape, Tensor, Var};

fn rosenbrock(x: &[Var]) -> Var {
    x.windows(2).map(|p| 100.0 * (p[1] - p[0].square()).square() + (1.0 - p[0]).square()).sum()
}

#[test]
fn cost_and_gradient_are_one_replay() {
    let recordings = Cell::new(0);
    let problem = Objective::<_>::new(|x: &[Var]| {
        recordings.set(recordings.get() + 1);
        rosenbrock(x)
    });
    let x = vec![-1.2, 1.0];
    assert!((problem.cost(&x).unwrap() - 24.2).abs() < 1e-12);
    let gradient = problem.gradient(&x).unwrap();
    assert!((gradient[0] + 215.6).abs() < 1e-12 && (gradient[1] + 88.0).abs() < 1e-12, "{gradient:?}");
    assert_eq!(problem.evaluations(), 1);
    problem.gradient(&vec![1.0, 1.0]).unwrap();
    assert_eq!(problem.cost(&vec![1.0, 1.0]).unwrap(), 0.0);
    assert_eq!(problem.evaluations(), 2);
    let hessian = problem.hessian(&x).unwrap();
    let wanted = [[1200.0 * 1.44 - 400.0 + 2.0, 480.0], [480.0, 200.0]];
    assert!(hessian.iter().zip(wanted).all(|(a, b)| (a[0] - b[0]).abs() < 1e-12 && (a[1] - b[1]).abs() < 1e-12));
    // The gradient of the last point is still at hand, and the Hessian's program replays.
    problem.hessian(&vec![1.0, 1.0]).unwrap();
    assert_eq!(problem.cost(&vec![1.0, 1.0]).unwrap(), 0.0);
    assert_eq!((problem.evaluations(), recordings.get()), (4, 2));
    assert!(problem.cost(&vec![f64::NAN, 1.0]).unwrap().is_nan());
}

#[test]
fn l_bfgs_finds_the_minimum_of_a_closure() {
    let problem = Objective::<_>::new(rosenbrock);
    let solver = LBFGS::new(MoreThuenteLineSearch::new(), 7);
    let result =
        Executor::new(problem, solver).configure(|state| state.param(vec![-1.2; 6]).max_iters(200)).run().unwrap();
    let best = result.state().get_best_param().unwrap();
    assert!(best.iter().all(|x| (x - 1.0).abs() < 1e-6), "{best:?}");
}

#[test]
fn parameters_may_be_arrays_and_vectors_of_other_crates() {
    let arrays = Objective::<_, Array1<f64>>::new(rosenbrock);
    let vectors = Objective::<_, DVector<f64>>::new(rosenbrock);
    let (a, v) = (arr1(&[0.5, 2.0]), DVector::from_vec(vec![0.5, 2.0]));
    assert_eq!(arrays.cost(&a).unwrap(), vectors.cost(&v).unwrap());
    assert_eq!(arrays.gradient(&a).unwrap(), arr1(&[-351.0, 350.0]));
    assert_eq!(vectors.gradient(&v).unwrap(), DVector::from_vec(vec![-351.0, 350.0]));
    assert_eq!(arrays.hessian(&a).unwrap(), arr2(&[[-498.0, -200.0], [-200.0, 200.0]]));
    assert_eq!(vectors.hessian(&v).unwrap(), DMatrix::from_row_slice(2, 2, &[-498.0, -200.0, -200.0, 200.0]));
}

#[test]
fn matrices_of_nalgebra_become_values_of_their_shape_and_back() {
    let matrix = Matrix2x3::new(1.0, 2.0, 3.0, 4.0, 5.0, 6.0);
    let tensor = Tensor::from(&matrix);
    assert_eq!((tensor.shape().dims(), tensor.data()), (&[2, 3][..], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0][..]));
    assert_eq!(Tensor::from(&Vector3::new(1.0, 2.0, 3.0)), Tensor::from([1.0, 2.0, 3.0]));
    assert_eq!(Tensor::from(&matrix.transpose()).to_string(), "[[1, 4], [2, 5], [3, 6]]");
    let dynamic = DMatrix::from(&tensor);
    assert_eq!(dynamic, matrix);
    assert_eq!(DMatrix::from(&Tensor::from([1.0, 2.0])), DMatrix::from_column_slice(2, 1, &[1.0, 2.0]));
    // Columns of a matrix are columns of a map.
    let tape = Tape::new();
    let (x, y) = (tape.input(0.0), tape.input(0.0));
    let mut map = tape.compile_map::<f64>(&[x, y], &[x * y]).unwrap();
    let points = DMatrix::from_row_slice(3, 2, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let mut products = DVector::zeros(3);
    let columns = points.as_slice().split_at(3);
    map.run(&[columns.0, columns.1], &mut [products.as_mut_slice()]).unwrap();
    assert_eq!(products.as_slice(), [2.0, 12.0, 30.0]);
}
