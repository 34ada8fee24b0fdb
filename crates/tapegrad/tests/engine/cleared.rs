//! A tape that was cleared is as good as a new one.
#![allow(clippy::unwrap_used)]

use tapegrad::Tape;

#[test]
fn what_is_recorded_after_clearing_has_no_attributes_of_before() {
    let tape = Tape::new();
    // The first attribute that a tape knows is then not that of operations without any.
    let x = tape.constant(3.0) * tape.input(2.0);
    assert_eq!(x.item(), 6.0);
    for _ in 0..2 {
        tape.clear();
        let x = tape.input([2.0, 5.0]);
        let y = (x + x) * x;
        let gradient = tape.grad(y.sum(), &[x])[0];
        let program = tape.compile::<f64>(&[y, gradient]).unwrap();
        let mut state = program.state();
        program.replay(&mut state).unwrap();
        assert_eq!((state.get(y), state.get(gradient)), (&[8.0, 50.0][..], &[8.0, 20.0][..]));
    }
}

#[test]
fn a_sum_alone_on_a_cleared_tape_compiles() {
    let tape = Tape::new();
    let _ = tape.constant(3.0) + tape.constant(4.0);
    tape.clear();
    let (a, b) = (tape.input([1.0, 2.0]), tape.input([3.0, 4.0]));
    let sum = a + b;
    let program = tape.compile::<f64>(&[sum]).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    assert_eq!(state.get(sum), [4.0, 6.0]);
}
