//! Nodes, and errors, are put down to the user's lines.
#![allow(clippy::unwrap_used)]

use super::mistakes::panics_anywhere;
use tapegrad::{Tape, Var};

/// Records `what` on one line and checks that every node it records is put down to that line.
macro_rules! recorded_here {
    ($tape:ident: $($line:expr => $($what:expr),+;)+) => {$($(
        let (before, _, here) = ($tape.len(), $what, $line);
        let graph = $tape.graph();
        assert!(graph.len() > before, "something is recorded");
        for &id in &graph.order()[before..] {
            let at = graph.node(id).location;
            assert_eq!((at.file(), at.line()), (file!(), here), "{}: {}", stringify!($what), graph.describe(id));
        }
    )+)+};
}

#[test]
fn every_way_of_recording_is_put_down_to_the_users_line() {
    let tape = Tape::new();
    let (x, y) = (tape.input([[1.0, 2.0], [3.0, 4.0]]), tape.input([[0.5, 0.25], [0.125, 2.0]]));
    let (row, labels) = (tape.input([1.0, 2.0]), tape.index_input([1, 0]));
    recorded_here! { tape:
        line!() => x + y, x - y, x * y, x / y, -x, x + row;
        line!() => x + 11.0, x * 12.0, x - 13.0, x / 14.0;
        line!() => 15.0 + x, 16.0 * x, 17.0 - x, 18.0 / x;
        line!() => x.exp(), x.powi(3), x.max(y), x.less(row), x.select(y, row), x.masked_mul(y);
        line!() => x.matmul(y), x.matmul(row), row.matmul(x), row.matmul(row);
        line!() => x.sum(), x.mean(), x.sum_over(&[0]), x.mean_keep(&[1]), x.max_over(&[-1]), x.max_keep(&[0]);
        line!() => x.softmax(0), x.log_softmax(-1), x.logsumexp(&[0, 1]), x.logsumexp_keep(&[1]);
        line!() => x.reshape([4]), x.transpose(), x.permute(&[1, 0]), x.broadcast_to([3, 2, 2]), x.slice(0, 0..1);
        line!() => Var::concat(&[x, y], 0), x.gather(labels), labels.one_hot(2);
        line!() => tape.constant([1.0, 2.0, 3.0]), x.constant([5.0, 6.0]), tape.param(1.0), x.scalar(19.0);
        line!() => tape.jacobian(x.square(), y);
        line!() => if x.sum() > 21.0 { 1 } else { 2 };
    }
}

#[test]
fn derivatives_are_put_down_to_the_lines_they_are_derivatives_of() {
    let tape = Tape::new();
    let x = tape.input([1.0, 2.0]);
    let (a, first) = (x.tanh() * 3.0, line!());
    let (b, second) = ((a * a.exp()).sum(), line!());
    let before = tape.len();
    let (_, third) = (tape.hessian(b, x), line!());
    let graph = tape.graph();
    for &id in &graph.order()[before..] {
        let at = graph.node(id).location;
        assert_eq!(at.file(), file!(), "{}", graph.describe(id));
        assert!([first, second, third].contains(&at.line()), "{}", graph.describe(id));
    }
    let derived = |line| graph.order()[before..].iter().filter(|&&id| graph.node(id).location.line() == line).count();
    assert!(derived(first) > 0 && derived(second) > 0);
}

#[test]
fn a_sum_over_an_iterator_is_put_down_to_its_terms() {
    let tape = Tape::new();
    let terms = [
        tape.input([1.0, 2.0]),
        tape.input([3.0, 4.0]), // the line of the mistake, below
        tape.input([5.0, 6.0, 7.0]),
    ];
    let total: Var = terms[..2].iter().copied().sum();
    assert_eq!(total.value().data(), [4.0, 6.0]);
    let graph = tape.graph();
    assert_eq!(graph.node(total.id()).location, graph.node(terms[1].id()).location);
    let message = panics_anywhere(|| terms.iter().copied().sum::<Var>());
    let line = graph.node(terms[2].id()).location.line();
    assert!(message.starts_with("add: shapes [2] and [3] do not broadcast"), "{message}");
    assert_eq!(message.lines().nth(1).unwrap(), format!("  --> L{line}"));
    assert_eq!(
        panics_anywhere(|| std::iter::empty::<Var>().sum::<Var>()),
        "a sum of recorded values needs at least one value"
    );
}
