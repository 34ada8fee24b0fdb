//! Every mistake that can be made while recording, compiling, binding and replaying: the exact message, the kind, and the
//! line, which is the user's.
//!
//! In the texts below, `L12` stands for line 12 of this file.
#![allow(clippy::unwrap_used)]

use super::mistakes::{fails, panics};
use tapegrad::ir::Attrs;
use tapegrad::{RecordErrorKind, ReplayError, Shape, Tape, Tensor, Var, ops};

#[test]
fn matmul_names_both_operands_and_suggests_the_transpose() {
    let tape = Tape::new();
    let (x, x_at) = (tape.input(Tensor::zeros([4, 3])).named("x"), line!());
    let (w, w_at) = (tape.param(Tensor::zeros([2, 3])).named("w"), line!());
    let wanted = |here: u32| {
        format!(
            "matmul: inner sizes differ: lhs [4, 3] has 3 columns, rhs [2, 3] has 2 rows\n  --> L{here}\n  lhs: input `x` \
             [4, 3], recorded at L{x_at}\n  rhs: param `w` [2, 3], recorded at L{w_at}\n  help: did you mean \
             `rhs.transpose()`?"
        )
    };
    let (message, here) = (fails(x.try_matmul(w)), line!());
    assert_eq!(message, wanted(here));
    let (message, here) = (panics(|| x.matmul(w)), line!());
    assert_eq!(message, wanted(here));
    assert_eq!(x.matmul(w.transpose()).shape(), Shape::from([4, 2]), "the tape is still usable, and the hint is right");

    let first = |message: String| message.lines().next().unwrap().to_owned();
    let last = |message: String| message.lines().last().unwrap().to_owned();
    let tall = tape.input(Tensor::zeros([4, 2]));
    assert_eq!(last(fails(x.try_matmul(tall))), "  help: did you mean `lhs.transpose()`?");
    let odd = tape.input(Tensor::zeros([7, 5]));
    assert!(!fails(x.try_matmul(odd)).contains("help"));
    let (vector, stack) = (tape.input([0.0; 3]), tape.input(Tensor::zeros([2, 4, 5])));
    assert_eq!(
        first(fails(vector.try_matmul(odd))),
        "matmul: inner sizes differ: lhs [3] has 3 elements, rhs [7, 5] has 7 rows"
    );
    assert_eq!(
        first(fails(stack.try_matmul(vector))),
        "matmul: inner sizes differ: lhs [2, 4, 5] has 5 columns, rhs [3] has 3 elements"
    );
    assert_eq!(
        first(fails(stack.try_matmul(tape.input(Tensor::zeros([3, 5, 6]))))),
        "matmul: expected two matrices, or stacks of matrices whose leading axes broadcast, found shapes [2, 4, 5] and \
         [3, 5, 6]"
    );
    let message = fails(x.try_matmul(tape.input(2.0)));
    assert_eq!(first(message.clone()), "matmul: expected vectors or matrices, found shapes [4, 3] and []");
    assert_eq!(last(message), "  help: `*` multiplies by a scalar");
}

#[test]
fn operators_say_which_axis_does_not_broadcast() {
    let tape = Tape::new();
    let (a, a_at) = (tape.input(Tensor::zeros([2, 3])).named("a"), line!());
    let (b, b_at) = (tape.input(Tensor::zeros([2, 4])), line!());
    let wanted = |op: &str, here: u32| {
        format!(
            "{op}: shapes [2, 3] and [2, 4] do not broadcast: axis -1 has size 3 in `a` and 4 in `b`; expected equal sizes, \
             or one of them 1\n  --> L{here}\n  a: input `a` [2, 3], recorded at L{a_at}\n  b: input [2, 4], recorded at \
             L{b_at}"
        )
    };
    let before = tape.len();
    for (op, message, here) in [
        ("add", fails(a.try_add(b)), line!()),
        ("sub", fails(a.try_sub(b)), line!()),
        ("mul", fails(a.try_mul(b)), line!()),
        ("div", fails(a.try_div(b)), line!()),
        ("add", panics(|| a + b), line!()),
        ("sub", panics(|| a - b), line!()),
        ("mul", panics(|| a * b), line!()),
        ("div", panics(|| a / b), line!()),
        ("max", panics(|| a.max(b)), line!()),
        ("less", panics(|| a.less(b)), line!()),
        ("max", fails(ops::try_record_elementwise(&ops::MAX, &[a, b])), line!()),
    ] {
        assert_eq!(message, wanted(op, here));
    }
    assert_eq!(tape.len(), before, "a mistake records nothing");
    assert_eq!((a + 1.0).shape(), a.shape(), "the tape is still usable");
}

#[test]
fn one_number_per_row_is_told_to_become_a_column() {
    let tape = Tape::new();
    let (vector, matrix) = (tape.input([0.0; 4]), tape.input(Tensor::zeros([4, 3])));
    let help = |message: String| message.lines().last().unwrap().to_owned();
    let message = fails(matrix.try_add(vector));
    assert!(
        message.starts_with("add: shapes [4, 3] and [4] do not broadcast: axis -1 has size 3 in `a` and 4 in `b`;")
    );
    assert_eq!(help(message), "  help: `.reshape([4, 1])` makes `b` one number per row");
    assert_eq!(help(fails(vector.try_mul(matrix))), "  help: `.reshape([4, 1])` makes `a` one number per row");
    assert_eq!((matrix + vector.reshape([4, 1])).shape(), matrix.shape());
}

#[test]
fn of_three_operands_the_two_that_clash_are_named() {
    let tape = Tape::new();
    let (c, a, b) = (tape.input(0.0), tape.input([0.0; 2]), tape.input([0.0; 3]));
    let message = panics(|| c.select(a, b));
    assert!(
        message.starts_with("select: shapes [2] and [3] do not broadcast: axis -1 has size 2 in `a` and 3 in `b`;"),
        "{message}"
    );
    let (condition, wide) = (tape.input([0.0; 2]), tape.input(Tensor::zeros([5, 3])));
    let message = panics(|| condition.select(tape.input(1.0), wide));
    assert!(message.contains("axis -1 has size 2 in `condition` and 3 in `b`"), "{message}");
}

/// Checks a mistake on a `[2, 3]` value called `x`: the first line, and for all that the line and the operand are right.
macro_rules! on_x {
    ($x:ident at $at:expr => $($line:expr, $mistake:expr, $first:expr $(, $help:expr)?;)+) => {
        let tape = Tape::new();
        let ($x, at) = (tape.input(Tensor::zeros([2, 3])).named("x"), $at);
        $(
            let (message, here) = (fails($mistake), $line);
            #[allow(unused_mut, unused_assignments)]
            let mut help = String::new();
            $(help = format!("\n  help: {}", $help);)?
            assert_eq!(
                message,
                format!("{}\n  --> L{here}\n  x: input `x` [2, 3], recorded at L{at}{help}", $first)
            );
        )+
        assert_eq!($x.sum().item(), 0.0, "the tape is still usable");
    };
}

#[test]
fn shapes_that_do_not_fit_say_what_was_expected() {
    on_x! { x at line!() =>
        line!(), x.try_reshape(&[4, 2]), "reshape: shape [2, 3] has 6 elements, shape [4, 2] needs 8",
            "`-1` stands for the one dimension that follows from the others";
        line!(), x.try_reshape(&[4, -1]), "reshape: 6 elements cannot be arranged as [4, -1]: no size fits the -1";
        line!(), x.try_reshape(&[0, -1]), "reshape: 6 elements cannot be arranged as [0, -1]: no size fits the -1";
        line!(), x.try_reshape(&[-1, -1]), "reshape: [-1, -1] is not a shape; expected counts, at most one of them -1";
        line!(), x.try_reshape(&[-2, 3]), "reshape: [-2, 3] is not a shape; expected counts, at most one of them -1";
        line!(), x.try_reshape(&[isize::MAX, 9, -1]),
            format!("reshape: 6 elements cannot be arranged as [{}, 9, -1]: no size fits the -1", isize::MAX);
        line!(), x.try_reshape(&[isize::MAX, 4]),
            format!("reshape: shape [2, 3] has 6 elements, shape [{}, 4] needs more than fit in memory", isize::MAX),
            "`-1` stands for the one dimension that follows from the others";
        line!(), x.try_broadcast_to([4, 3]),
            "broadcast_to: shape [2, 3] does not broadcast to [4, 3]; expected each axis to be equal, 1, or new in front";
        line!(), x.try_slice(1, 1..4), "slice: range 1..4 does not lie in axis 1 of shape [2, 3]; expected a part of 0..3";
        line!(), #[allow(clippy::reversed_empty_ranges)] x.try_slice(-1, 2..1),
            "slice: range 2..1 does not lie in axis 1 of shape [2, 3]; expected a part of 0..3";
        line!(), x.try_permute(&[1]), "permute: [1] is not an order of the 2 axes of shape [2, 3]";
    }
}

#[test]
fn axes_that_do_not_exist_are_refused_with_those_that_do() {
    let axis = |op: &str, axis: isize| {
        format!("{op}: axis {axis} does not exist in shape [2, 3] (axes 0..=1, or -2..=-1 from the back)")
    };
    on_x! { x at line!() =>
        line!(), x.try_sum_over(&[2]), axis("sum", 2);
        line!(), x.try_sum_over(&[0, -3]), axis("sum", -3);
        line!(), x.try_mean_over(&[2]), axis("mean", 2);
        line!(), x.try_max_over(&[2]), axis("max_over", 2);
        line!(), x.try_logsumexp(&[5]), axis("logsumexp", 5);
        line!(), x.try_softmax(2), axis("softmax", 2);
        line!(), x.try_log_softmax(-4), axis("log_softmax", -4);
        line!(), x.try_slice(2, 0..1), axis("slice", 2);
        line!(), x.try_permute(&[0, 2]), axis("permute", 2);
        line!(), Var::try_concat(&[x, x], 2), axis("concat", 2);
        line!(), x.try_sum_over(&[1, -1]), "sum: axis -1 is named twice in [1, -1]";
        line!(), x.try_mean_over(&[0, 0]), "mean: axis 0 is named twice in [0, 0]";
        line!(), x.try_permute(&[1, 1]), "permute: axis 1 is named twice in [1, 1]";
    }
    let tape = Tape::new();
    let (scalar, vector) = (tape.input(1.0), tape.input([1.0, 2.0]));
    let first = |message: String| message.lines().next().unwrap().to_owned();
    assert_eq!(
        first(fails(scalar.try_sum_over(&[0]))),
        "sum: axis 0 does not exist: the value is a scalar and has no axes"
    );
    let message = fails(vector.try_transpose());
    assert_eq!(
        first(message.clone()),
        "transpose: expected at least two axes to exchange the last two of, found shape [2]"
    );
    assert!(message.ends_with("help: `.reshape([-1, 1])` makes a column of a vector"), "{message}");
    assert_eq!(panics(|| scalar.transpose()).lines().count(), 3);
    let empty = tape.input(Tensor::zeros([2, 0]));
    assert_eq!(first(fails(empty.try_max_over(&[1]))), "max_over: shape [2, 0] has no elements to take the largest of");
    assert_eq!(first(fails(empty.try_softmax(1))), "softmax: shape [2, 0] has no elements along these axes");
}

#[test]
fn concat_says_which_part_does_not_fit() {
    let tape = Tape::new();
    let (a, a_at) = (tape.input(Tensor::zeros([2, 3])), line!());
    let (b, b_at) = (tape.input(Tensor::zeros([3, 3])), line!());
    let (message, here) = (fails(Var::try_concat(&[a, a, b], 1)), line!());
    assert_eq!(
        message,
        format!(
            "concat: part 2 of shape [3, 3] does not fit part 0 of shape [2, 3]; expected all axes but 1 to agree\n  --> \
             L{here}\n  x: input [2, 3], recorded at L{a_at}\n  x: input [2, 3], recorded at L{a_at}\n  x: input [3, 3], \
             recorded at L{b_at}"
        )
    );
    let (message, here) = (fails(Var::try_concat(&[], 0)), line!());
    assert_eq!(message, format!("concat: expected at least one operand, found none\n  --> L{here}"));
    let (message, here) = (fails(Var::try_record(&ops::ADD, &[a], Attrs::None)), line!());
    let operand = format!("a: input [2, 3], recorded at L{a_at}");
    assert_eq!(message, format!("add: expected 2 operands, found 1\n  --> L{here}\n  {operand}"));
}

#[test]
fn numbers_and_indices_are_not_taken_for_each_other() {
    let tape = Tape::new();
    let (labels, at) = (tape.index_input([0, 2, 1]).named("labels"), line!());
    let data = tape.input(Tensor::zeros([3, 2]));
    let help = "\n  help: use them with `gather`, or record the numbers as an input";
    for (op, operands, help, message, here) in [
        ("add", 2, help, panics(|| labels + 1.0), line!()),
        ("mul", 2, help, panics(|| 2.0 * labels), line!()),
        ("sub", 2, help, fails(data.try_sub(labels)), line!()),
        ("exp", 1, help, panics(|| labels.exp()), line!()),
        ("neg", 1, help, panics(|| -labels), line!()),
        ("sum", 1, "", panics(|| labels.sum()), line!()),
        ("mean", 1, "", fails(labels.try_mean_over(&[0])), line!()),
        ("matmul", 2, "", fails(labels.try_matmul(data)), line!()),
        ("softmax", 1, "", fails(labels.try_softmax(0)), line!()),
    ] {
        let lines: Vec<&str> = message.lines().collect();
        assert_eq!(lines[..2], [format!("{op}: indices have no arithmetic"), format!("  --> L{here}")]);
        assert!(lines[2..].iter().any(|l| l.ends_with(&format!(": input `labels` index [3], recorded at L{at}"))));
        assert_eq!(lines.len(), 2 + operands + usize::from(!help.is_empty()), "{message}");
        assert!(message.ends_with(help), "{message}");
    }
    let (message, here) = (fails(data.try_gather(data)), line!());
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines[0], "gather: expected row numbers (indices), found real numbers of shape [3, 2]");
    assert_eq!(lines[1], format!("  --> L{here}"));
    assert_eq!(lines[4], "  help: record row numbers with `tape.index_input(..)`");
    assert!(fails(tape.input(1.0).try_gather(labels)).starts_with("gather: expected data with rows, found a scalar"));
    assert!(panics(|| data.one_hot(3)).starts_with("one_hot: expected row numbers (indices), found real numbers"));
    let (message, here) = (panics(|| labels.value()), line!());
    let operand = format!("input `labels` index [3], recorded at L{at}");
    assert_eq!(message, format!("value: expected real numbers, found indices\n  --> L{here}\n  {operand}"));
    assert!(fails(Var::try_concat(&[labels, labels], 0)).starts_with("concat: indices cannot be concatenated"));
}

#[test]
fn an_index_out_of_range_is_refused_wherever_it_first_shows() {
    let tape = Tape::new();
    let (data, data_at) = (tape.input(Tensor::zeros([2, 2])).named("data"), line!());
    let (labels, labels_at) = (tape.index_input([0, 5, 1]).named("labels"), line!());
    let (rows, rows_at) = (data.gather(labels), line!());
    let (message, here) = (panics(|| rows.value()), line!());
    assert_eq!(
        message,
        format!(
            "gather: index 5 at position 1 is out of range, there are 2 rows\n  --> L{here}\n  data: input `data` [2, 2], \
             recorded at L{data_at}\n  index: input `labels` index [3], recorded at L{labels_at}\n  recorded at L{rows_at}"
        )
    );
    let (message, here) = (fails(tape.compile::<f64>(&[rows])), line!());
    assert_eq!(
        message,
        format!(
            "compile: index 5 at position 1 of input `labels` index [3] is out of range, there are 2 rows\n  --> L{here}\n  \
             used by: gather [3, 2], recorded at L{rows_at}"
        )
    );
    let fine = tape.index_input([1, 0]).named("fine");
    let program = tape.compile::<f64>(&[data.gather(fine)]).unwrap();
    let mut state = program.state();
    for bad in [2, usize::MAX] {
        assert_eq!(
            fails(state.set_index(fine, &[0, bad])),
            format!("index input `fine`: index {bad} at position 1 is out of range, there are 2 rows")
        );
    }
    assert_eq!(fails(state.set_index(fine, &[0])), "index input `fine` holds 2 indices, found 1");
    program.replay(&mut state).unwrap();
}

#[test]
fn derivatives_are_asked_for_what_can_have_them() {
    let tape = Tape::new();
    let (x, x_at) = (tape.input([1.0, 2.0]).named("x"), line!());
    let (y, y_at) = ((x * x).named("y"), line!());
    let wanted = |op: &str, here: u32| {
        format!(
            "{op}: expected a scalar output (shape []), found shape [2]\n  --> L{here}\n  output: mul `y` [2], recorded at \
             L{y_at}\n  help: reduce it (`y.sum()`, `y.mean()`) or give its cotangent: `tape.vjp(y, ct, &[..])`"
        )
    };
    for (op, message, here) in [
        ("grad", fails(tape.try_grad(y, &[x])), line!()),
        ("grad", panics(|| tape.grad(y, &[x])), line!()),
        ("hvp", fails(tape.try_hvp(y, &[x], &[x])), line!()),
        ("hessian", fails(tape.try_hessian(y, x)), line!()),
        ("hessian", panics(|| tape.hessian(y, x)), line!()),
    ] {
        assert_eq!(message, wanted(op, here));
    }
    let (message, here) = (fails(tape.try_hvp(y.sum(), &[x, y], &[x, x])), line!());
    assert_eq!(
        message,
        format!(
            "hvp: one variable is computed from another\n  --> L{here}\n  mul `y` [2], recorded at L{y_at}\n  input `x` [2], \
             recorded at L{x_at}\n  help: leave out the first of them"
        )
    );
    let (ct, ct_at) = (tape.input(1.0).named("ct"), line!());
    let (message, here) = (fails(tape.try_vjp(y, ct, &[x])), line!());
    assert_eq!(
        message,
        format!(
            "vjp: a cotangent of shape [] does not fit its output of shape [2]\n  --> L{here}\n  output: mul `y` [2], \
             recorded at L{y_at}\n  cotangent: input `ct` [], recorded at L{ct_at}"
        )
    );
    let (message, here) = (fails(tape.try_jvp(&[y], &[x], &[ct])), line!());
    assert_eq!(
        message,
        format!(
            "jvp: a tangent of shape [] does not fit its variable of shape [2]\n  --> L{here}\n  variable: input `x` [2], \
             recorded at L{x_at}\n  tangent: input `ct` [], recorded at L{ct_at}"
        )
    );
    let (message, here) = (fails(tape.try_jvp(&[y], &[x, x], &[x])), line!());
    assert_eq!(message, format!("jvp: expected one tangent for each variable, found 1 for 2\n  --> L{here}"));
    let (labels, at) = (tape.index_input([0, 1]), line!());
    for (op, message, here) in [
        ("grad", fails(tape.try_grad(y.sum(), &[labels])), line!()),
        ("vjp", fails(tape.try_vjp(y, x, &[labels])), line!()),
        ("jvp", fails(tape.try_jvp(&[y], &[labels], &[labels])), line!()),
        ("jacobian", fails(tape.try_jacobian(y, labels)), line!()),
        ("jacobian", panics(|| tape.jacobian(y, labels)), line!()),
    ] {
        let operand = format!("input index [2], recorded at L{at}");
        let wanted = format!("{op}: expected real numbers to differentiate, found indices\n  --> L{here}\n  {operand}");
        assert_eq!(message, wanted);
    }
    assert!(
        fails(tape.try_grad(labels, &[x])).starts_with("grad: expected a real number to differentiate, found indices")
    );
    assert_eq!(tape.grad(y.sum(), &[x])[0].value().data(), [2.0, 4.0], "the tape is still usable");
}

#[test]
fn only_a_parameter_can_be_assigned_and_only_its_shape() {
    let tape = Tape::new();
    let (x, x_at) = (tape.input([1.0, 2.0]).named("x"), line!());
    let (w, w_at) = (tape.param([1.0, 2.0]).named("w"), line!());
    let (message, here) = (fails(tape.try_assign(x, w)), line!());
    assert_eq!(
        message,
        format!(
            "assign: only a parameter can be assigned to\n  --> L{here}\n  param: input `x` [2], recorded at L{x_at}\n  \
             value: param `w` [2], recorded at L{w_at}\n  help: record it with `tape.param(..)`"
        )
    );
    let (s, s_at) = (x.sum(), line!());
    for (message, here) in [(fails(tape.try_assign(w, s)), line!()), (panics(|| tape.assign(w, s)), line!())] {
        assert_eq!(
            message,
            format!(
                "assign: a value of shape [] does not fit a parameter of shape [2]\n  --> L{here}\n  param: param `w` [2], \
                 recorded at L{w_at}\n  value: sum [], recorded at L{s_at}"
            )
        );
    }
    tape.assign(w, x);
}

#[test]
fn a_rank_above_eight_is_refused() {
    let tape = Tape::new();
    let nine = Tensor::full([1; 9], 1.0);
    for (op, message, here) in [
        ("input", panics(|| tape.input(nine.clone())), line!()),
        ("param", panics(|| tape.param(nine.clone())), line!()),
        ("const", panics(|| tape.constant(nine.clone())), line!()),
        ("const", panics(|| tape.input(1.0).constant(nine.clone())), line!()),
    ] {
        let shape = "[1, 1, 1, 1, 1, 1, 1, 1, 1]";
        assert_eq!(message, format!("{op}: expected at most 8 dimensions, found 9, in shape {shape}\n  --> L{here}"));
    }
    let five = tape.input(Tensor::full([1; 5], 1.0));
    let first = |message: String| message.lines().next().unwrap().to_owned();
    let result = "found 9 in the result, of shape [1, 1, 1, 1, 1, 1, 1, 1, 1]";
    let nine = fails(five.try_reshape(&[1; 9]));
    assert_eq!(first(nine), format!("reshape: expected at most 8 dimensions, {result}"));
    let (message, here) = (fails(tape.try_jacobian(five, five)), line!());
    let shape = Shape::from([1; 10]);
    assert_eq!(message, format!("jacobian: expected at most 8 dimensions, found 10, in shape {shape}\n  --> L{here}"));
    assert_eq!(tape.input(Tensor::full([1; 8], 1.0)).rank(), 8);
}

#[test]
fn an_element_count_that_overflows_is_refused() {
    let tape = Tape::new();
    let (x, at) = (tape.input(1.0).named("x"), line!());
    let huge = usize::MAX / 2;
    for dims in [[huge, 3], [usize::MAX, 0], [0, usize::MAX]] {
        let (message, here) = (fails(x.try_broadcast_to(dims)), line!());
        assert_eq!(
            message,
            format!(
                "broadcast_to: the result of shape {dims:?} would not fit in memory\n  --> L{here}\n  x: input `x` [], \
                 recorded at L{at}"
            )
        );
        assert_eq!(panics(|| Tensor::zeros(dims)), format!("a value of shape {dims:?} would not fit in memory"));
    }
    let wide = x.broadcast_to([huge]);
    let message = fails(Var::try_concat(&[wide, wide, wide], 0));
    assert!(message.starts_with("concat: the result of shape [18446744073709551615] would not fit"), "{message}");
    let (message, here) = (fails(tape.compile::<f64>(&[x.broadcast_to([1 << 40]).exp()])), line!());
    assert!(message.starts_with("compile: the program needs "), "{message}");
    assert!(message.contains("numbers at a time; at most 2^30 are supported"), "{message}");
    assert!(message.ends_with(&format!("\n  --> L{here}")), "{message}");
    assert_eq!(fails(Tensor::new([2, 3], vec![0.0; 5])), "shape [2, 3] does not fit 5 elements");
}

#[test]
fn indices_cannot_be_compiled_as_outputs() {
    let tape = Tape::new();
    let (labels, at) = (tape.index_input([0, 1]).named("labels"), line!());
    let (message, here) = (fails(tape.compile::<f64>(&[labels])), line!());
    let what = format!("input `labels` index [2], recorded at L{at}");
    assert_eq!(message, format!("compile: expected outputs of real numbers, found {what}\n  --> L{here}"));
}

#[test]
fn a_state_says_what_fits_and_what_it_knows() {
    let tape = Tape::new();
    let x = tape.input([1.0, 2.0]).named("x");
    let (unused, unused_at) = (tape.input(0.0).named("unused"), line!());
    let (inner, inner_at) = (x * x, line!());
    let labels = tape.index_input([0, 1]).named("labels");
    let y = (inner.sum() * labels.one_hot(2).sum()).named("y");
    let program = tape.compile::<f64>(&[y]).unwrap();
    let mut state = program.state();
    assert_eq!(fails(state.try_get(y)), "output `y` of shape [] is not computed: there was no replay yet");
    program.replay(&mut state).unwrap();
    assert_eq!(state.item(y), 10.0);
    assert_eq!(fails(state.set(x, &[1.0; 3])), "input `x` of shape [2] holds 2 numbers, found 3");
    assert_eq!(fails(state.set_scalar(x, 1.0)), "input `x` of shape [2] holds 2 numbers, found 1");
    assert_eq!(
        fails(state.set_tensor(x, &Tensor::zeros([1, 2]))),
        "input `x` of shape [2] does not fit a value of shape [1, 2]"
    );
    assert_eq!(fails(state.set(y, &[1.0])), "output `y` of shape [] cannot be set: it is computed");
    assert_eq!(fails(state.set(labels, &[1.0])), "index input `labels` holds indices, not numbers; see `set_index`");
    assert_eq!(fails(state.set_index(x, &[1])), "input `x` of shape [2] holds numbers, not indices; see `set`");
    let not = "is not an input or parameter that the program uses, nor among its outputs";
    assert_eq!(fails(state.try_get(inner)), format!("mul [2], recorded at L{inner_at}, {not}"));
    assert_eq!(panics(|| state.get(inner).len()), format!("mul [2], recorded at L{inner_at}, {not}"));
    assert_eq!(fails(state.set(unused, &[1.0])), format!("input `unused` [], recorded at L{unused_at}, {not}"));
    assert_eq!(fails(state.tensor(unused)), format!("input `unused` [], recorded at L{unused_at}, {not}"));
    assert_eq!(
        fails(state.set_index(inner, &[1])),
        format!("mul [2], recorded at L{inner_at}, is not an index input that the program uses")
    );
    assert_eq!(panics(|| state.item(x)), "item: the value has 2 elements, not one");
    assert_eq!(panics(|| x.item()), "item: a value of shape [2] has 2 elements, not one");
    assert_eq!((state.get(x), state.item(y)), (&[1.0, 2.0][..], 10.0), "refused data changes nothing");
}

#[test]
fn a_state_of_another_program_is_refused() {
    let tape = Tape::new();
    let x = tape.param(2.0);
    tape.assign(x, x * x);
    let (one, other) = (tape.compile::<f64>(&[]).unwrap(), tape.compile::<f64>(&[]).unwrap());
    let mut state = other.state();
    let error = one.replay(&mut state).unwrap_err();
    assert_eq!(error, ReplayError::ForeignState);
    assert_eq!(error.to_string(), "this state was made for another program; make one with `program.state()`");
    assert_eq!(state.item(x), 2.0, "nothing is replayed");
}

#[test]
fn errors_tell_their_kind_operation_and_line() {
    let tape = Tape::new();
    let (x, labels) = (tape.input([1.0, 2.0]), tape.index_input([0]));
    let cases = [
        (x.try_add(tape.input([0.0; 3])).unwrap_err(), RecordErrorKind::Shape, "add", line!()),
        (x.try_sum_over(&[1]).unwrap_err(), RecordErrorKind::Axis, "sum", line!()),
        (x.try_mul(labels).unwrap_err(), RecordErrorKind::Type, "mul", line!()),
        (Var::try_record(&ops::SELECT, &[x, x], Attrs::None).unwrap_err(), RecordErrorKind::Arity, "select", line!()),
        (tape.try_grad(x, &[x]).unwrap_err(), RecordErrorKind::Request, "grad", line!()),
        (tape.try_assign(x, x).unwrap_err(), RecordErrorKind::Request, "assign", line!()),
        (x.try_add(Tape::new().input(1.0)).unwrap_err(), RecordErrorKind::Foreign, "add", line!()),
    ];
    for (error, kind, op, line) in cases {
        assert_eq!((error.kind(), error.op(), error.location().line()), (kind, op, line));
        assert_eq!(error.location().file(), file!());
        assert_eq!(format!("{error:?}"), error.to_string(), "`unwrap` shows the message readably");
    }
}
