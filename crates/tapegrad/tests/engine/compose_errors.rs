//! Every operation that is written with others, or with a kernel of its own, refuses what does not fit it: the exact
//! messages, under the name that the user called, are in `golden/compose_errors.txt`.
#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use tapegrad::ops::{Conv, PadMode, Pool, try_einsum};
use tapegrad::{Indices, RecordErrorKind, Tape, Tensor, Var};

/// The calls that fail, each with the first line of its message.
macro_rules! refusals {
    ($($call:expr;)+) => {{
        let mut text = String::new();
        $(
            let call = stringify!($call).split_whitespace().collect::<Vec<_>>().join(" ");
            match $call.map(drop) {
                Ok(()) => writeln!(text, "{call}\n    is accepted").unwrap(),
                Err(error) => {
                    let message = error.to_string();
                    let (first, rest) = message.split_once('\n').unwrap();
                    assert!(rest.starts_with(concat!("  --> ", file!(), ":")), "the line is the user's: {message}");
                    writeln!(text, "{call}\n    {first}").unwrap();
                }
            }
        )+
        text
    }};
}

fn value(tape: &Tape, shape: &[usize]) -> Var {
    tape.input(Tensor::from_fn(shape, |i| i as f64 + 1.0))
}

#[test]
fn what_does_not_fit_is_refused_with_a_message_that_says_why() {
    let tape = Tape::new();
    let (s, v3, v4) = (value(&tape, &[]), value(&tape, &[3]), value(&tape, &[4]));
    let (m23, m34, m33) = (value(&tape, &[2, 3]), value(&tape, &[3, 4]), value(&tape, &[3, 3]));
    let (t234, t155) = (value(&tape, &[2, 3, 4]), value(&tape, &[1, 5, 5]));
    let (r8, empty) = (value(&tape, &[1; 8]), value(&tape, &[2, 0]));
    let (i3, i23) = (tape.index_input([0, 1, 2]), tape.index_input(Indices::new([2, 3], &[0; 6]).unwrap()));
    let text = refusals! {
        s.try_squeeze(&[0]);
        m23.try_squeeze(&[1]);
        m23.try_squeeze(&[0, 0]);
        m23.try_unsqueeze(3);
        m23.try_unsqueeze(-4);
        r8.try_unsqueeze(0);
        s.try_movedim(0, 0);
        m23.try_movedim(2, 0);
        m23.try_movedim(0, -3);
        s.try_swapaxes(0, 1);
        m23.try_swapaxes(0, 2);
        i23.try_swapaxes(0, 1);
        s.try_flip(&[0]);
        m23.try_flip(&[2]);
        i3.try_flip(&[0]);
        s.try_roll(1, 0);
        m23.try_roll(1, 2);
        i3.try_roll(1, 0);
        v3.try_rot90(1, [0, 1]);
        m23.try_rot90(1, [0, 0]);
        i23.try_rot90(1, [0, 1]);
        m23.try_tile(&[1; 9]);
        i3.try_tile(&[2]);
        s.try_unfold(0, 1, 1);
        v3.try_unfold(0, 4, 1);
        v3.try_unfold(0, 2, 0);
        r8.try_unfold(0, 1, 1);
        s.try_narrow(0, 0, 1);
        m23.try_narrow(1, 2, 2);
        m23.try_narrow(0, usize::MAX, 2);
        s.try_index(0, 0);
        m23.try_index(1, 3);
        m23.try_index(1, -4);
        m23.try_split(&[1, 1], 1);
        m23.try_split(&[usize::MAX, 4], 1);
        m23.try_split(&[3], 2);
        m23.try_chunk(0, 0);
        s.try_chunk(1, 0);
        m23.try_chunk(2, 2);
        s.try_unbind(0);
        m23.try_unbind(-3);
        i23.try_unbind(1);
        Var::try_stack(&[], 0);
        Var::try_stack(&[v3, v4], 0);
        Var::try_stack(&[v3, v3], 2);
        Var::try_stack(&[v3, i3], 0);
        Var::try_hstack(&[]);
        Var::try_hstack(&[v3, m23]);
        Var::try_hstack(&[m23, m34]);
        Var::try_vstack(&[]);
        Var::try_vstack(&[v3, v4]);
        Var::try_vstack(&[m23, t234]);
        v3.try_pad(&[(1, 1), (1, 1)], PadMode::Constant(0.0));
        v3.try_pad(&[(-2, -2)], PadMode::Constant(0.0));
        v3.try_pad(&[(3, 0)], PadMode::Reflect);
        v3.try_pad(&[(0, 4)], PadMode::Wrap);
        empty.try_pad(&[(1, 0)], PadMode::Edge);
        i3.try_pad(&[(1, 0)], PadMode::Constant(0.0));
        v3.try_diagonal(0, 0, 1);
        m23.try_diagonal(0, 0, 0);
        i23.try_diagonal(0, 0, 1);
        s.try_diag(0);
        t234.try_diag(0);
        i3.try_diag(0);
        s.try_trace();
        v3.try_trace();
        i23.try_trace();
        s.try_tril(0);
        v3.try_tril(0);
        i23.try_tril(0);
        s.try_triu(0);
        v3.try_triu(0);
        i23.try_triu(0);
        v3.try_masked_fill(v4, s);
        m23.try_masked_fill(m23, v4);
        v3.try_masked_fill(i3, s);
        s.try_min_over(&[0]);
        empty.try_min_over(&[1]);
        i3.try_min_over(&[0]);
        empty.try_amin();
        empty.try_amax();
        i3.try_amax();
        s.try_prod_over(&[0]);
        m23.try_prod_over(&[0, 0]);
        i3.try_prod();
        s.try_var_over(&[0], 0);
        m23.try_var_over(&[2], 0);
        i3.try_var(0);
        m23.try_std_over(&[2], 0);
        m23.try_std_over(&[0, -2], 0);
        i3.try_std(0);
        s.try_nansum_over(&[0]);
        m23.try_nansum_over(&[1, 1]);
        i3.try_nansum_over(&[0]);
        m23.try_norm_over(f64::NAN, &[0]);
        m23.try_norm_over(2.0, &[2]);
        empty.try_norm_over(f64::INFINITY, &[1]);
        i3.try_norm(2.0);
        s.try_normalize(2.0, 0, 1e-12);
        v3.try_normalize(f64::NAN, 0, 1e-12);
        i3.try_normalize(2.0, 0, 1e-12);
        v3.try_cosine_similarity(v4, 0, 1e-8);
        v3.try_cosine_similarity(v3, 1, 1e-8);
        v3.try_cosine_similarity(i3, 0, 1e-8);
        v3.try_cdist(v3, 2.0);
        m23.try_cdist(m34, 2.0);
        m23.try_cdist(m33, f64::NAN);
        s.try_cumsum(0);
        m23.try_cumsum(2);
        i3.try_cumsum(0);
        s.try_cumsum_reversed(0);
        m23.try_cumsum_reversed(2);
        i3.try_cumsum_reversed(0);
        s.try_cumprod(0);
        m23.try_cumprod(2);
        i3.try_cumprod(0);
        s.try_logcumsumexp(0);
        m23.try_logcumsumexp(2);
        i3.try_logcumsumexp(0);
        s.try_trapezoid(1.0, 0);
        empty.try_trapezoid(1.0, 1);
        i3.try_trapezoid(1.0, 0);
        v3.try_trapezoid_at(v4, 0);
        v3.try_trapezoid_at(v3, 1);
        empty.try_trapezoid_at(empty, 1);
        v3.try_dot(v4);
        m23.try_dot(m23);
        v3.try_dot(i3);
        v3.try_inner(v4);
        r8.try_inner(r8);
        v3.try_inner(i3);
        v3.try_outer(i3);
        i3.try_outer(v3);
        value(&tape, &[1; 5]).try_kron(value(&tape, &[1; 5]));
        v3.try_kron(i3);
        v3.try_cross(v4, 0);
        v4.try_cross(v4, 0);
        v3.try_cross(v3, 1);
        m23.try_addmm(m23, m23, 1.0, 1.0);
        m33.try_addmm(m23, m34, 1.0, 1.0);
        i3.try_addmm(m23, m34, 1.0, 1.0);
        s.try_linear(v3);
        v3.try_linear(m34);
        v3.try_linear(t234);
        v3.try_bilinear(v4, m34);
        v3.try_bilinear(v4, value(&tape, &[2, 4, 3]));
        m23.try_bilinear(m34, value(&tape, &[2, 3, 4]));
        try_einsum("ij,jk->ik", &[m23]);
        try_einsum("ij,jk->ik", &[m23, m23]);
        try_einsum("i->i", &[m23]);
        try_einsum("ij->k", &[m23]);
        try_einsum("ij->ii", &[m23]);
        try_einsum("i1->i", &[m23]);
        try_einsum("i->i", &[i3]);
        try_einsum("", &[]);
        v3.try_solve(v3);
        m23.try_solve(v3);
        m33.try_solve(v4);
        m33.try_solve(m23);
        m33.try_solve(i3);
        m23.try_solve_triangular(m23, false);
        m33.try_solve_triangular(v3, false);
        m33.try_solve_triangular(m23, true);
        m33.try_solve_triangular(i23, true);
        v3.try_inv();
        m23.try_inv();
        i23.try_inv();
        v3.try_matrix_power(2);
        m23.try_matrix_power(2);
        i23.try_matrix_power(2);
        v3.try_det();
        m23.try_det();
        i23.try_det();
        v3.try_slogdet();
        m23.try_slogdet();
        i23.try_slogdet();
        v3.try_cholesky();
        m23.try_cholesky();
        i23.try_cholesky();
        s.try_take_along_axis(0, i3);
        v3.try_take_along_axis(0, v3);
        m23.try_take_along_axis(1, i3);
        m33.try_take_along_axis(1, i23);
        s.try_add_along_axis(0, i3, v3);
        v3.try_add_along_axis(0, v3, v3);
        v3.try_add_along_axis(0, i3, v4);
        m33.try_add_along_axis(1, i3, m23);
        s.try_put_along_axis(0, i3, v3);
        v3.try_put_along_axis(0, v3, v3);
        v3.try_put_along_axis(0, i3, v4);
        m33.try_put_along_axis(1, i23, m23);
        s.try_index_select(0, i3);
        m23.try_index_select(0, v3);
        m23.try_index_select(0, i23);
        v3.try_conv(v3, &Conv::default());
        t155.try_conv(value(&tape, &[1, 4, 2]), &Conv::default());
        t155.try_conv(value(&tape, &[3, 5, 6]), &Conv::default());
        t155.try_conv(value(&tape, &[3, 5, 2]), &Conv::default().stride(&[0]));
        t155.try_conv(value(&tape, &[3, 1, 2]), &Conv::default().groups(5));
        s.try_max_pool(&Pool::new(&[2]));
        v3.try_max_pool(&Pool::new(&[4]));
        v3.try_max_pool(&Pool::new(&[2]).padding(&[2]));
        v3.try_max_pool(&Pool::new(&[2]).stride(&[0]));
        i3.try_max_pool(&Pool::new(&[2]));
        s.try_avg_pool(&Pool::new(&[2]));
        v3.try_avg_pool(&Pool::new(&[0]));
        v3.try_avg_pool(&Pool::new(&[2]).dilation(&[0]));
        s.try_layer_norm(&[0], 1e-5);
        m23.try_layer_norm(&[1, 1], 1e-5);
        i3.try_layer_norm(&[0], 1e-5);
        s.try_rms_norm(&[0], 1e-5);
        m23.try_rms_norm(&[2], 1e-5);
        i3.try_rms_norm(&[0], 1e-5);
        v3.try_group_norm(1, 1e-5);
        m23.try_group_norm(2, 1e-5);
        m23.try_group_norm(0, 1e-5);
        v3.try_instance_norm(1e-5);
        empty.try_instance_norm(1e-5);
        i23.try_instance_norm(1e-5);
        v3.try_l1_loss(v4);
        v3.try_l1_loss(value(&tape, &[3, 1]));
        v3.try_l1_loss(i3);
        v3.try_mse_loss(v4);
        v3.try_mse_loss(value(&tape, &[3, 1]));
        v3.try_mse_loss(i3);
        v3.try_huber_loss(v4, 1.0);
        v3.try_huber_loss(value(&tape, &[3, 1]), 1.0);
        v3.try_huber_loss(i3, 1.0);
        v3.try_smooth_l1_loss(v4, 1.0);
        v3.try_smooth_l1_loss(value(&tape, &[3, 1]), 1.0);
        v3.try_smooth_l1_loss(i3, 1.0);
        v3.try_binary_cross_entropy(v4);
        v3.try_binary_cross_entropy(value(&tape, &[3, 1]));
        v3.try_binary_cross_entropy(i3);
        v3.try_binary_cross_entropy_with_logits(v4);
        v3.try_binary_cross_entropy_with_logits(value(&tape, &[3, 1]));
        v3.try_binary_cross_entropy_with_logits(i3);
        v3.try_kl_div(v4);
        v3.try_kl_div(value(&tape, &[3, 1]));
        v3.try_kl_div(i3);
        v3.try_gaussian_nll_loss(v4, v3);
        v3.try_gaussian_nll_loss(v3, v4);
        v3.try_gaussian_nll_loss(v3, i3);
        v3.try_poisson_nll_loss(v4);
        v3.try_poisson_nll_loss(value(&tape, &[3, 1]));
        v3.try_poisson_nll_loss(i3);
        v3.try_hinge_embedding_loss(v4, 1.0);
        v3.try_hinge_embedding_loss(value(&tape, &[3, 1]), 1.0);
        v3.try_hinge_embedding_loss(i3, 1.0);
        m33.try_nll_loss(v3);
        m23.try_nll_loss(i3);
        i23.try_nll_loss(i3);
        m33.try_cross_entropy(v3);
        m23.try_cross_entropy(i3);
        s.try_cross_entropy(i3);
    };
    assert!(!text.contains("is accepted"), "{text}");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/compose_errors.txt");
    if std::env::var_os("TAPEGRAD_UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let wanted = std::fs::read_to_string(path).unwrap_or_default();
    for (got, wanted) in text.lines().zip(wanted.lines()) {
        assert_eq!(got, wanted, "run this test with TAPEGRAD_UPDATE_GOLDEN=1 if the change is wanted");
    }
    assert_eq!(text.lines().count(), wanted.lines().count());
}

#[test]
fn a_refusal_names_the_operands_and_the_panic_has_the_same_message() {
    let tape = Tape::new();
    let x = value(&tape, &[2, 3]).named("x");
    let t = value(&tape, &[6]).named("t");
    let (error, line) = (x.try_mse_loss(t).unwrap_err(), line!());
    assert_eq!(error.kind(), RecordErrorKind::Shape);
    let message = error.to_string();
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(
        lines[0],
        "mse_loss: prediction of shape [2, 3] and target of shape [6] differ (a loss does not broadcast)"
    );
    assert!(lines[1].starts_with(&format!("  --> {}:{line}:", file!())), "{message}");
    assert!(lines[2].starts_with("  x: input `x` [2, 3], recorded at "), "{message}");
    assert!(lines[3].starts_with("  target: input `t` [6], recorded at "), "{message}");
    assert_eq!(lines[4], "  help: reshape one of them; both have 6 numbers");

    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| x.mse_loss(t))).unwrap_err();
    let panic = panic.downcast_ref::<String>().unwrap();
    assert_eq!(panic.lines().next(), Some(lines[0]));

    let other = Tape::new();
    let foreign = value(&other, &[2, 3]);
    assert_eq!(x.try_mse_loss(foreign).unwrap_err().kind(), RecordErrorKind::Foreign);
    assert_eq!(x.try_cdist(foreign, 2.0).unwrap_err().op(), "cdist");
    assert_eq!(try_einsum("ij,ij->", &[x, foreign]).unwrap_err().op(), "einsum");
}

/// The calls are refused because the tape is gone, each under its own name.
macro_rules! dropped {
    ($($call:expr;)+) => {$(
        let error = $call.map(drop).expect_err(stringify!($call));
        assert_eq!(error.kind(), RecordErrorKind::Dropped, "{}: {error}", stringify!($call));
        assert!(stringify!($call).contains(&format!("try_{}(", error.op())), "{}: {}", stringify!($call), error.op());
    )+};
}

#[test]
fn nothing_that_returns_an_error_panics_on_a_handle_of_a_dropped_tape() {
    let tape = Tape::new();
    let (x, i) = (value(&tape, &[3, 3]), tape.index_input([0, 1, 2]));
    drop(tape);
    let here = Tape::new();
    let y = value(&here, &[3, 3]);
    dropped! {
        x.try_squeeze(&[0]);
        x.try_unsqueeze(0);
        x.try_movedim(0, 1);
        x.try_swapaxes(0, 1);
        x.try_flatten();
        x.try_flip(&[0]);
        x.try_roll(1, 0);
        x.try_rot90(1, [0, 1]);
        x.try_tile(&[2]);
        x.try_unfold(0, 2, 1);
        x.try_narrow(0, 0, 1);
        x.try_index(0, 0);
        x.try_split(&[3], 0);
        x.try_chunk(1, 0);
        x.try_unbind(0);
        Var::try_stack(&[x, x], 0);
        Var::try_hstack(&[x, x]);
        Var::try_vstack(&[x, x]);
        x.try_pad(&[(1, 1)], PadMode::Edge);
        x.try_diagonal(0, 0, 1);
        x.try_diag(0);
        x.try_trace();
        x.try_tril(0);
        x.try_triu(0);
        x.try_masked_fill(x, x);
        x.try_min_over(&[0]);
        x.try_amax();
        x.try_amin();
        x.try_prod_over(&[0]);
        x.try_prod();
        x.try_var_over(&[0], 0);
        x.try_var(0);
        x.try_std_over(&[0], 0);
        x.try_std(0);
        x.try_nansum_over(&[0]);
        x.try_norm_over(2.0, &[0]);
        x.try_norm(2.0);
        x.try_normalize(2.0, 0, 1e-12);
        x.try_cosine_similarity(x, 0, 1e-8);
        x.try_cdist(x, 2.0);
        x.try_cumsum(0);
        x.try_cumsum_reversed(0);
        x.try_cumprod(0);
        x.try_logcumsumexp(0);
        x.try_trapezoid(1.0, 0);
        x.try_trapezoid_at(x, 0);
        x.try_dot(x);
        x.try_inner(x);
        x.try_outer(x);
        x.try_kron(x);
        x.try_cross(x, 0);
        x.try_addmm(x, x, 1.0, 1.0);
        x.try_linear(x);
        x.try_bilinear(x, x);
        try_einsum("ij->ji", &[x]);
        x.try_solve(x);
        y.try_solve(x);
        x.try_solve_triangular(x, true);
        x.try_inv();
        x.try_matrix_power(2);
        x.try_det();
        x.try_slogdet();
        x.try_cholesky();
        x.try_take_along_axis(0, i);
        x.try_add_along_axis(0, i, x);
        x.try_put_along_axis(0, i, x);
        x.try_index_select(0, i);
        y.try_index_select(0, i);
        x.try_conv(x, &Conv::default());
        x.try_max_pool(&Pool::new(&[2]));
        x.try_avg_pool(&Pool::new(&[2]));
        x.try_layer_norm(&[0], 1e-5);
        x.try_group_norm(1, 1e-5);
        x.try_instance_norm(1e-5);
        x.try_rms_norm(&[0], 1e-5);
        x.try_l1_loss(x);
        x.try_mse_loss(x);
        x.try_huber_loss(x, 1.0);
        x.try_smooth_l1_loss(x, 1.0);
        x.try_binary_cross_entropy(x);
        x.try_binary_cross_entropy_with_logits(x);
        x.try_nll_loss(i);
        y.try_nll_loss(i);
        x.try_cross_entropy(i);
        x.try_kl_div(x);
        x.try_gaussian_nll_loss(x, x);
        x.try_poisson_nll_loss(x);
        x.try_hinge_embedding_loss(x, 1.0);
    }
}

#[test]
fn an_index_out_of_range_is_refused_when_it_is_set() {
    let tape = Tape::new();
    let (x, index) = (value(&tape, &[2, 3]), tape.index_input(Indices::new([2, 1], &[0, 2]).unwrap()));
    let y = x.take_along_axis(1, index);
    let program = tape.compile::<f64>(&[y]).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    assert_eq!(state.get(y), [1.0, 6.0]);
    let error = state.set_index(index, &[0, 3]).unwrap_err().to_string();
    assert!(error.contains("index 3 at position 1"), "{error}");
    let late = tape.index_input(Indices::new([2, 1], &[0, 3]).unwrap());
    let y = x.take_along_axis(1, late);
    let message = tape.compile::<f64>(&[y]).unwrap_err().to_string();
    assert!(message.contains("index 3 at position 1 of"), "{message}");
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| y.value())).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(
        message.starts_with("take_along_axis: index 3 at position 1 is out of range, there are 3 rows"),
        "{message}"
    );
}
