//! Operations with many forms against the loops that define them: `einsum`, convolutions, pooling, padding, and linear
//! algebra by what it must satisfy.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use tapegrad::ops::{Conv, PadMode, Pool, einsum};
use tapegrad::{Shape, Tape, Tensor};

fn value(shape: &[usize], salt: usize) -> Tensor {
    Tensor::from_fn(shape, |i| ((i * 17 + salt * 29 + 5) % 41) as f64 * 0.09 - 1.7)
}

/// All positions of a shape in row-major order.
fn positions(dims: &[usize]) -> impl Iterator<Item = Vec<usize>> {
    let (shape, dims) = (Shape::from(dims), dims.to_vec());
    let strides = shape.strides();
    (0..shape.numel()).map(move |i| strides.iter().zip(&dims).map(|(s, d)| i / s % d).collect())
}

fn at(t: &Tensor, position: &[usize]) -> f64 {
    t.data()[position.iter().zip(t.shape().strides()).map(|(p, s)| p * s).sum::<usize>()]
}

#[track_caller]
fn assert_close(got: &Tensor, wanted: &Tensor, what: &str) {
    assert_eq!(got.shape(), wanted.shape(), "{what}");
    for (g, w) in got.data().iter().zip(wanted.data()) {
        assert!((g - w).abs() <= 1e-12 * w.abs().max(1.0), "{what}: {got} instead of {wanted}");
    }
}

/// The sum over all letters that are not in the result, term by term.
fn einsum_by_loops(equation: &str, operands: &[Tensor]) -> Tensor {
    let (left, right) = equation.split_once("->").unwrap();
    let names: Vec<Vec<char>> = left.split(',').map(|part| part.chars().collect()).collect();
    let mut sizes: BTreeMap<char, usize> = BTreeMap::new();
    for (letters, operand) in names.iter().zip(operands) {
        for (&letter, &size) in letters.iter().zip(operand.shape().dims()) {
            let known = sizes.entry(letter).or_insert(1);
            *known = size.max(*known);
        }
    }
    let output: Vec<char> = right.chars().collect();
    let mut result = Tensor::zeros(output.iter().map(|c| sizes[c]).collect::<Shape>());
    let (letters, all): (Vec<char>, Vec<usize>) = sizes.iter().map(|(&c, &n)| (c, n)).unzip();
    for position in positions(&all) {
        let place: BTreeMap<char, usize> = letters.iter().copied().zip(position).collect();
        let term: f64 = names
            .iter()
            .zip(operands)
            .map(|(names, t)| {
                // An axis of size 1 has one element for all places.
                let here: Vec<usize> = names.iter().zip(t.shape().dims()).map(|(c, &d)| place[c].min(d - 1)).collect();
                at(t, &here)
            })
            .product();
        let to: usize = output.iter().zip(result.shape().strides()).map(|(c, s)| place[c] * s).sum();
        result.data_mut()[to] += term;
    }
    result
}

#[test]
fn einsum_is_the_sum_that_it_says() {
    let cases: &[(&str, &[&[usize]])] = &[
        ("i->i", &[&[3]]),
        ("i->", &[&[3]]),
        ("ij->ji", &[&[2, 3]]),
        ("ii->i", &[&[3, 3]]),
        ("ii->", &[&[3, 3]]),
        ("iij->ji", &[&[3, 3, 2]]),
        ("iii->i", &[&[2, 2, 2]]),
        ("iijj->ij", &[&[2, 2, 3, 3]]),
        ("ij,jk->ik", &[&[2, 3], &[3, 4]]),
        ("ij,jk->ki", &[&[2, 3], &[3, 4]]),
        ("ij,jk->ijk", &[&[2, 3], &[3, 4]]),
        ("ij,jk->", &[&[2, 3], &[3, 4]]),
        ("ij,ij->ij", &[&[2, 3], &[2, 3]]),
        ("ij,ij->i", &[&[2, 3], &[2, 3]]),
        ("ij,ji->", &[&[2, 3], &[3, 2]]),
        ("i,j->ij", &[&[2], &[3]]),
        ("i,j->ji", &[&[2], &[3]]),
        ("bij,bjk->bik", &[&[2, 3, 2], &[2, 2, 3]]),
        ("bij,jk->bik", &[&[2, 3, 2], &[2, 3]]),
        ("bij,kj->kbi", &[&[2, 3, 2], &[4, 2]]),
        ("ij,jk,kl->il", &[&[2, 3], &[3, 2], &[2, 4]]),
        ("ij,jk,ki->", &[&[2, 3], &[3, 2], &[2, 2]]),
        ("i,i,i->i", &[&[3], &[3], &[3]]),
        ("ijk,ilm->klm", &[&[2, 3, 2], &[2, 2, 3]]),
        ("ijk,jkl,kli->", &[&[2, 3, 2], &[3, 2, 2], &[2, 2, 2]]),
        ("ij,i->j", &[&[1, 3], &[4]]),
        ("ij,jk->ik", &[&[2, 1], &[3, 4]]),
        ("aibjc,jd->dbca", &[&[2, 1, 3, 2, 2], &[2, 3]]),
        ("ii,ij->j", &[&[3, 3], &[3, 2]]),
        (",ij->ij", &[&[], &[2, 3]]),
    ];
    let tape = Tape::new();
    for (equation, shapes) in cases {
        let operands: Vec<Tensor> = shapes.iter().enumerate().map(|(salt, shape)| value(shape, salt)).collect();
        let recorded: Vec<_> = operands.iter().map(|t| tape.input(t)).collect();
        let got = einsum(equation, &recorded).value();
        assert_close(&got, &einsum_by_loops(equation, &operands), equation);
    }
}

#[test]
fn an_ellipsis_stands_for_axes_that_broadcast() {
    let tape = Tape::new();
    for (equation, plain, a, b) in [
        ("...ij,...jk->...ik", "abij,abjk->abik", &[2, 3, 2, 2][..], &[3, 2, 4][..]),
        ("...ij,jk->...ik", "abij,jk->abik", &[2, 3, 2, 2], &[2, 4]),
        ("i...,i...->...", "iab,iab->ab", &[2, 3, 2], &[2, 1, 2]),
        ("...i,...i->...", "abi,abi->ab", &[2, 1, 3], &[4, 3]),
        ("...i,i", "abi,i->ab", &[2, 3, 2], &[2]),
        ("b...a,a", "bxya,a->xyb", &[2, 3, 2, 2], &[2]),
    ] {
        let (a, b) = (value(a, 0), value(b, 1));
        let got = einsum(equation, &[tape.input(&a), tape.input(&b)]).value();
        // The loops want every axis named: missing leading ones are of size 1.
        let (left, _) = plain.split_once("->").unwrap();
        let (_, second) = left.split_once(',').unwrap();
        let missing = second.len() - b.shape().rank();
        let dims: Vec<usize> = std::iter::repeat_n(1, missing).chain(b.shape().dims().iter().copied()).collect();
        let b = Tensor::new(dims, b.into_data()).unwrap();
        assert_close(&got, &einsum_by_loops(plain, &[a, b]), equation);
    }
}

/// One number of a convolution over two axes, by its definition; places outside the input are 0.
fn conv_at(
    x: &Tensor,
    w: &Tensor,
    to: &[usize],
    (stride, padding, dilation, groups): ([usize; 2], [(usize, usize); 2], [usize; 2], usize),
) -> f64 {
    let per_group = w.shape().dims()[0] / groups;
    let channels = w.shape().dims()[1];
    positions(&w.shape().dims()[1..])
        .map(|k| {
            let place =
                |axis: usize| (to[2 + axis] * stride[axis] + k[1 + axis] * dilation[axis]).checked_sub(padding[axis].0);
            let (Some(row), Some(column)) = (place(0), place(1)) else { return 0.0 };
            if row >= x.shape().dims()[2] || column >= x.shape().dims()[3] {
                return 0.0;
            }
            at(x, &[to[0], to[1] / per_group * channels + k[0], row, column]) * at(w, &[to[1], k[0], k[1], k[2]])
        })
        .sum()
}

#[test]
fn convolutions_are_the_sums_that_define_them() {
    let tape = Tape::new();
    let mut count = 0;
    for stride in [[1, 1], [2, 1], [1, 3]] {
        for padding in [[(0, 0), (0, 0)], [(1, 0), (2, 1)], [(0, 2), (1, 1)]] {
            for dilation in [[1, 1], [2, 1], [1, 2]] {
                for groups in [1, 2] {
                    let (x, w) = (value(&[2, 4, 6, 5], 0), value(&[2 * groups, 4 / groups, 2, 3], 1));
                    let how = Conv::default().stride(&stride).padding(&padding).dilation(&dilation).groups(groups);
                    let got = tape.input(&x).conv(tape.input(&w), &how).value();
                    let out = |axis: usize, size: usize| {
                        let length = x.shape().dims()[2 + axis] + padding[axis].0 + padding[axis].1;
                        (length - (size - 1) * dilation[axis] - 1) / stride[axis] + 1
                    };
                    let dims = [2, 2 * groups, out(0, 2), out(1, 3)];
                    let numbers = positions(&dims).map(|to| conv_at(&x, &w, &to, (stride, padding, dilation, groups)));
                    assert_close(&got, &Tensor::new(dims, numbers.collect()).unwrap(), &format!("{how:?}"));
                    count += 1;
                }
            }
        }
    }
    assert_eq!(count, 54);
}

#[test]
fn pools_take_the_largest_and_the_mean_of_the_windows_that_define_them() {
    let tape = Tape::new();
    for length in [5, 6, 7] {
        for (size, stride, padding, dilation, ceil) in [
            (2, 2, 0, 1, false),
            (2, 2, 0, 1, true),
            (3, 2, 1, 1, false),
            (3, 2, 1, 1, true),
            (3, 1, 1, 1, false),
            (2, 3, 1, 1, true),
            (2, 1, 1, 2, false),
            (3, 2, 1, 2, true),
        ] {
            let x = value(&[2, length], length);
            let pool = Pool::new(&[size]).stride(&[stride]).padding(&[padding]).dilation(&[dilation]).ceil(ceil);
            // PyTorch's rule for the number of windows: the last one must begin inside the input or the padding before it.
            let spare = length + 2 * padding - dilation * (size - 1) - 1;
            let mut places = if ceil { spare.div_ceil(stride) } else { spare / stride } + 1;
            if ceil && (places - 1) * stride >= length + padding {
                places -= 1;
            }
            let window = |row: usize, place: usize| {
                let x = x.data()[row * length..(row + 1) * length].to_vec();
                (0..size)
                    .filter_map(move |i| (place * stride + i * dilation).checked_sub(padding))
                    .filter_map(move |p| x.get(p).copied())
                    .collect::<Vec<f64>>()
            };
            let each = |f: &dyn Fn(&[f64], usize) -> f64| {
                Tensor::from_fn([2, places], |i| f(&window(i / places, i % places), i % places))
            };
            let largest = each(&|w, _| w.iter().copied().fold(f64::NEG_INFINITY, f64::max));
            let x = tape.input(&x);
            assert_close(&x.max_pool(&pool).value(), &largest, &format!("largest of {length}: {pool:?}"));
            let mean = each(&|w, _| w.iter().sum::<f64>() / w.len() as f64);
            let got = x.avg_pool(&pool.clone().count_padding(false)).value();
            assert_close(&got, &mean, &format!("mean of {length}: {pool:?}"));
            let padded = each(&|w, place| {
                let inside = |i: &usize| place * stride + i * dilation < length + 2 * padding;
                w.iter().sum::<f64>() / (0..size).filter(inside).count() as f64
            });
            let got = x.avg_pool(&pool.clone().count_padding(true)).value();
            assert_close(&got, &padded, &format!("mean with padding of {length}: {pool:?}"));
        }
    }
}

#[test]
fn padding_takes_the_elements_that_its_mode_says() {
    let tape = Tape::new();
    let x = tape.input([0.0, 1.0, 2.0, 3.0]);
    for (before, after) in [(0, 0), (2, 0), (0, 3), (3, 3), (-1, 2), (3, -2), (-2, -2), (-4, 3)] {
        let wanted = |mode: PadMode| -> Vec<f64> {
            let place = |i: isize| match mode {
                PadMode::Constant(_) if (0..4).contains(&i) => i as f64,
                PadMode::Constant(c) => c,
                PadMode::Edge => i.clamp(0, 3) as f64,
                PadMode::Reflect => (3 - (i.rem_euclid(6) - 3).abs()) as f64,
                PadMode::Wrap => i.rem_euclid(4) as f64,
            };
            (-before..4 + after).map(place).collect()
        };
        for mode in [PadMode::Constant(9.0), PadMode::Edge, PadMode::Reflect, PadMode::Wrap] {
            assert_eq!(x.pad(&[(before, after)], mode).value().data(), wanted(mode), "{before}, {after}, {mode:?}");
        }
    }
}

#[test]
fn linear_algebra_satisfies_what_defines_it() {
    let tape = Tape::new();
    for n in [1, 2, 3, 7, 20] {
        let a = Tensor::from_fn([n, n], |i| ((i * 37 + 11) as f64).sin() + if i % n == i / n { 2.0 } else { 0.0 });
        let (a, b) = (tape.input(&a), tape.input(value(&[n, 3], n)));
        let identity = tape.constant(vec![1.0; n]).diag(0);
        let small = |v: tapegrad::Var, what: &str| {
            let largest = v.value().data().iter().fold(0.0_f64, |most, x| most.max(x.abs()));
            assert!(largest < 1e-11, "{what} of {n} × {n}: {largest:e}");
        };
        small(a.matmul(a.solve(b)) - b, "A·(A⁻¹B) − B");
        small(a.matmul(a.inv()) - identity, "A·A⁻¹ − 1");
        small(a.matrix_power(3) - a.matmul(a).matmul(a), "A³ − A·A·A");
        small(a.matrix_power(-2).matmul(a.matmul(a)) - identity, "A⁻²·A² − 1");
        let spd = a.matmul(a.transpose()) + identity;
        let l = spd.cholesky();
        small(l.matmul(l.transpose()) - spd, "L·Lᵀ − A");
        small(l - l.tril(0), "what is above the diagonal of L");
        small(l.matmul(l.solve_triangular(b, false)) - b, "L·(L⁻¹B) − B");
        let (sign, log) = a.slogdet();
        small(sign * log.exp() / a.det() - 1.0, "s·eˡ/det − 1");
        small((a.matmul(a)).det() / a.det().square() - 1.0, "det A²/(det A)² − 1");
        // The determinant of a triangular matrix is the product of its diagonal.
        small(l.det() / l.diagonal(0, 0, 1).prod() - 1.0, "det L/∏Lᵢᵢ − 1");
    }
}
