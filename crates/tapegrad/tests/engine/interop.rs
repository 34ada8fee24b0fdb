//! Data from outside: nested arrays, slices, vectors and `ndarray`; and NumPy's broadcasting rules against tables made by hand.
#![allow(clippy::unwrap_used)]

use ndarray::{Array1, Array2, Array3, ArrayD, Axis, arr0, arr1, arr2, s};
use tapegrad::{Indices, Program, Shape, Tape, Tensor};

#[test]
fn nested_arrays_keep_their_shape_and_order() {
    let cases: [(Tensor, &[usize], &[f64]); 6] = [
        (Tensor::from(7.0), &[], &[7.0]),
        (Tensor::from([1.0, 2.0, 3.0]), &[3], &[1.0, 2.0, 3.0]),
        (Tensor::from([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        (Tensor::from([[[1.0, 2.0]], [[3.0, 4.0]]]), &[2, 1, 2], &[1.0, 2.0, 3.0, 4.0]),
        (Tensor::from([0.0; 0]), &[0], &[]),
        (Tensor::from([[0.0; 0]; 3]), &[3, 0], &[]),
    ];
    for (tensor, shape, data) in cases {
        assert_eq!((tensor.shape().dims(), tensor.data()), (shape, data));
    }
}

#[test]
fn slices_and_vectors_are_vectors_unless_a_shape_is_given() {
    let numbers = vec![1.0, 2.0, 3.0, 4.0];
    assert_eq!(Tensor::from(&numbers[1..]).shape(), &Shape::from([3]));
    assert_eq!(Tensor::from(numbers.clone()).data(), numbers);
    assert_eq!(Tensor::new([2, 2], numbers.clone()).unwrap()[[1, 0]], 3.0);
    assert!(Tensor::new([3, 2], numbers).is_err());
    assert_eq!(Indices::from([3, 1]).data(), [3, 1]);
    assert_eq!(Indices::from(vec![3, 1]).shape(), &Shape::from([2]));
    assert_eq!(Indices::new([2, 1], &[3, 1]).unwrap().shape(), &Shape::from([2, 1]));
}

#[test]
fn ndarray_arrays_become_values_of_their_shape() {
    let matrix = arr2(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    let tensor = Tensor::from(&matrix);
    assert_eq!((tensor.shape().dims(), tensor.data()), (&[2, 3][..], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0][..]));
    assert_eq!(Tensor::from(&arr0(2.5)), Tensor::from(2.5));
    assert_eq!(Tensor::from(&arr1(&[1.0, 2.0])), Tensor::from([1.0, 2.0]));
    assert_eq!(Tensor::from(&Array3::<f64>::zeros((2, 0, 3))).shape(), &Shape::from([2, 0, 3]));
    assert_eq!(Tensor::from(&ArrayD::from_elem(vec![1, 2, 1, 2], 0.5)).shape(), &Shape::from([1, 2, 1, 2]));
}

#[test]
fn views_of_any_memory_order_are_read_in_their_logical_order() {
    let matrix = arr2(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    assert_eq!(Tensor::from(&matrix.t()), Tensor::from([[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]));
    assert_eq!(Tensor::from(&matrix.slice(s![.., ..;-2])), Tensor::from([[3.0, 1.0], [6.0, 4.0]]));
    assert_eq!(Tensor::from(&matrix.index_axis(Axis(1), 1)), Tensor::from([2.0, 5.0]));
    assert_eq!(Tensor::from(&matrix.broadcast((2, 2, 3)).unwrap()).data()[6..], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn values_go_back_into_ndarray() {
    let tape = Tape::new();
    let x = tape.input(&arr2(&[[1.0, 2.0], [3.0, 4.0]]));
    let doubled = ArrayD::from(&*(x * 2.0).value());
    assert_eq!(doubled, arr2(&[[2.0, 4.0], [6.0, 8.0]]).into_dyn());
    let program: Program<f64> = tape.compile(&[x.transpose()]).unwrap();
    let mut state = program.state();
    state.set_tensor(x, &Tensor::from(&Array2::from_shape_fn((2, 2), |(i, j)| (10 * i + j) as f64))).unwrap();
    program.replay(&mut state).unwrap();
    assert_eq!(ArrayD::from(&state.tensor(x).unwrap())[[1, 0]], 10.0);
    let ones = Array1::<f64>::ones(2);
    assert_eq!(x.matmul(tape.constant(&ones)).value().data(), [3.0, 7.0]);
}

#[test]
fn shapes_broadcast_as_in_numpys_table() {
    // Left, right, result of `np.broadcast_shapes`, or none where it raises.
    type Row = (&'static [usize], &'static [usize], Option<&'static [usize]>);
    let table: [Row; 16] = [
        (&[], &[], Some(&[])),
        (&[], &[3], Some(&[3])),
        (&[3], &[1], Some(&[3])),
        (&[3], &[4], None),
        (&[2, 3], &[3], Some(&[2, 3])),
        (&[2, 3], &[2], None),
        (&[2, 3], &[2, 1], Some(&[2, 3])),
        (&[4, 1], &[3], Some(&[4, 3])),
        (&[4, 1], &[1, 3], Some(&[4, 3])),
        (&[5, 4], &[1], Some(&[5, 4])),
        (&[15, 3, 5], &[15, 1, 5], Some(&[15, 3, 5])),
        (&[15, 3, 5], &[3, 1], Some(&[15, 3, 5])),
        (&[8, 1, 6, 1], &[7, 1, 5], Some(&[8, 7, 6, 5])),
        (&[2, 1], &[8, 4, 3], None),
        (&[0], &[1], Some(&[0])),
        (&[2, 0], &[2, 3], None),
    ];
    for (left, right, result) in table {
        for (left, right) in [(left, right), (right, left)] {
            let tape = Tape::new();
            let (a, b) = (tape.input(Tensor::zeros(left)), tape.input(Tensor::zeros(right)));
            let wanted = result.map(Shape::from);
            assert_eq!(a.try_add(b).ok().map(tapegrad::Var::shape), wanted, "{left:?} + {right:?}");
            assert_eq!(Shape::from(left).broadcast(&Shape::from(right)), wanted);
        }
    }
}

#[test]
fn broadcast_values_and_gradients_are_those_made_by_hand() {
    let tape = Tape::new();
    let column = tape.input([[1.0], [2.0], [3.0]]);
    let row = tape.input([10.0, 20.0]);
    let scalar = tape.input(100.0);
    let table = [
        (column + row, "[[11, 21], [12, 22], [13, 23]]"),
        (row - column, "[[9, 19], [8, 18], [7, 17]]"),
        (column * row, "[[10, 20], [20, 40], [30, 60]]"),
        (scalar + column, "[[101], [102], [103]]"),
        (row / scalar, "[0.1, 0.2]"),
        (column.max(row * 0.2), "[[2, 4], [2, 4], [3, 4]]"),
        (column.less(row * 0.25), "[[1, 1], [1, 1], [0, 1]]"),
    ];
    for (value, wanted) in table {
        assert_eq!(value.value().to_string(), wanted);
    }
    // What was repeated in the product is summed in its gradient.
    let product = (column * row + scalar).sum();
    let gradient = tape.grad(product, &[column, row, scalar]);
    assert_eq!(gradient[0].value().to_string(), "[[30], [30], [30]]");
    assert_eq!(gradient[1].value().to_string(), "[6, 6]");
    assert_eq!(gradient[2].value().to_string(), "6");
}

#[test]
fn matrix_products_follow_numpys_rules() {
    // Left, right, result of `np.matmul`.
    type Row = (&'static [usize], &'static [usize], Option<&'static [usize]>);
    let table: [Row; 12] = [
        (&[2, 3], &[3, 4], Some(&[2, 4])),
        (&[3], &[3, 4], Some(&[4])),
        (&[2, 3], &[3], Some(&[2])),
        (&[3], &[3], Some(&[])),
        (&[5, 2, 3], &[3, 4], Some(&[5, 2, 4])),
        (&[5, 2, 3], &[5, 3, 4], Some(&[5, 2, 4])),
        (&[5, 2, 3], &[1, 3, 4], Some(&[5, 2, 4])),
        (&[6, 1, 2, 3], &[5, 3, 4], Some(&[6, 5, 2, 4])),
        (&[5, 2, 3], &[3], Some(&[5, 2])),
        (&[3], &[5, 3, 4], Some(&[5, 4])),
        (&[2, 3], &[2, 3], None),
        (&[4, 2, 3], &[5, 3, 4], None),
    ];
    for (left, right, result) in table {
        let tape = Tape::new();
        let fill = |k: usize| move |i: usize| ((i * k + 3) % 7) as f64 - 3.0;
        let (a, b) = (tape.input(Tensor::from_fn(left, fill(5))), tape.input(Tensor::from_fn(right, fill(3))));
        let product = a.try_matmul(b).ok();
        assert_eq!(product.map(tapegrad::Var::shape), result.map(Shape::from), "{left:?} @ {right:?}");
        if let (Some(product), true) = (product, left.len() <= 2 && right.len() <= 2) {
            let of = |t: &Tensor, shape: (usize, usize)| Array2::from_shape_vec(shape, t.data().to_vec()).unwrap();
            let (k, rows) = (*left.last().unwrap(), a.value().data().len() / left.last().unwrap());
            let wanted = of(&a.value(), (rows, k)).dot(&of(&b.value(), (k, b.value().data().len() / k)));
            assert_eq!(product.value().data(), wanted.as_slice().unwrap(), "{left:?} @ {right:?}");
        }
    }
}
