//! Handles that are not valid: removed, cleared, of another tape, of a dropped tape, of another thread. Each is told as what it
//! is, and none ever reaches the value of another node.
#![allow(clippy::unwrap_used)]

use super::mistakes::{fails, panics, panics_anywhere};
use tapegrad::{Program, RecordErrorKind, State, Tape, Var};

/// Uses `bad` together with the tape and its values in every way there is; `good` is a valid scalar of `tape`, `param` a scalar
/// parameter. Gives each use's name and message, and the line it must name.
fn mixed_uses(tape: &Tape, good: Var, param: Var, bad: Var) -> Vec<(&'static str, String, u32)> {
    vec![
        ("add", panics(|| good + bad), line!()),
        ("add", panics(|| bad + good), line!()),
        ("add", fails(bad.try_add(good)), line!()),
        ("select", panics(|| good.select(good, bad)), line!()),
        ("concat", fails(Var::try_concat(&[good.reshape([1]), bad], 0)), line!()),
        ("matmul", fails(good.try_matmul(bad)), line!()),
        ("matmul", fails(bad.try_matmul(good)), line!()),
        ("gather", fails(good.try_gather(bad)), line!()),
        ("grad", fails(tape.try_grad(bad, &[good])), line!()),
        ("grad", fails(tape.try_grad(good, &[bad])), line!()),
        ("vjp", fails(tape.try_vjp(good, bad, &[good])), line!()),
        ("jvp", fails(tape.try_jvp(&[good], &[good], &[bad])), line!()),
        ("hvp", fails(tape.try_hvp(good, &[bad], &[good])), line!()),
        ("jacobian", fails(tape.try_jacobian(bad, good)), line!()),
        ("hessian", panics(|| tape.hessian(good, bad)), line!()),
        ("assign", fails(tape.try_assign(bad, good)), line!()),
        ("assign", fails(tape.try_assign(param, bad)), line!()),
        ("compile", fails(tape.compile::<f64>(&[good, bad])), line!()),
        ("remove", fails(tape.remove(bad)), line!()),
        ("comparison", panics(|| bad > good), line!()),
        ("comparison", panics(|| good < bad), line!()),
    ]
}

/// Uses that ask only the handle itself.
fn own_uses(bad: Var) -> Vec<(&'static str, String, u32)> {
    vec![
        ("value", panics(|| bad.value()), line!()),
        ("value", panics(|| bad.item()), line!()),
        ("shape", panics(|| bad.shape()), line!()),
        ("name", panics(|| bad.name()), line!()),
        ("named", panics(|| bad.named("other")), line!()),
        ("op", panics(|| bad.op()), line!()),
        ("comparison", panics(|| bad > 1.0), line!()),
        ("comparison", panics(|| bad != 1.0), line!()),
        ("mul", panics(|| bad * 2.0), line!()),
        ("sub", panics(|| 2.0 - bad), line!()),
        ("neg", panics(|| -bad), line!()),
        ("exp", panics(|| bad.exp()), line!()),
        ("powi", panics(|| bad.powi(3)), line!()),
        ("sum", panics(|| bad.sum()), line!()),
        ("mean", panics(|| bad.mean()), line!()),
        ("sum", fails(bad.try_sum_over(&[0])), line!()),
        ("softmax", fails(bad.try_softmax(0)), line!()),
        ("logsumexp", panics(|| bad.logsumexp(&[0])), line!()),
        ("reshape", fails(bad.try_reshape(&[1])), line!()),
        ("broadcast_to", fails(bad.try_broadcast_to([2])), line!()),
        ("transpose", fails(bad.try_transpose()), line!()),
        ("slice", fails(bad.try_slice(0, 0..1)), line!()),
        ("gather", fails(bad.try_gather(bad)), line!()),
        ("add", panics_anywhere(|| [bad, bad].into_iter().sum::<Var>()), 0),
    ]
}

fn check(uses: Vec<(&'static str, String, u32)>, what: &str) {
    for (op, message, line) in uses {
        assert!(message.starts_with(&format!("{op}: {what}\n")), "{op} at line {line}: {message}");
        // A sum over an iterator does not know its caller.
        assert!(
            line == 0 || message.lines().nth(1) == Some(&format!("  --> L{line}")),
            "{op} at line {line}: {message}"
        );
    }
}

#[test]
fn a_removed_value_is_told_with_the_line_of_its_removal() {
    let tape = Tape::new();
    let (good, param) = (tape.input(1.0), tape.param(1.0));
    let (bad, made) = (tape.input(2.0).named("x"), line!());
    let removed = line!() + 1;
    tape.remove(bad).unwrap();
    let what = format!("stale handle: input `x` [], recorded at L{made}, was removed from its tape at L{removed}");
    check(mixed_uses(&tape, good, param, bad), &what);
    check(own_uses(bad), &what);
    assert_eq!(good.try_add(bad).unwrap_err().kind(), RecordErrorKind::Stale);
    assert_eq!(format!("{bad:?}"), "Var(stale)");
    assert_eq!((good + 1.0).item(), 2.0, "the tape is still usable");
}

#[test]
fn removing_twice_is_an_error_of_its_own() {
    let tape = Tape::new();
    let (x, made) = (tape.input(2.0), line!());
    let removed = line!() + 1;
    tape.remove(x).unwrap();
    let (message, here) = (fails(tape.remove(x)), line!());
    assert_eq!(
        message,
        format!(
            "remove: stale handle: input [], recorded at L{made}, was removed from its tape at L{removed}\n  --> L{here}"
        )
    );
}

#[test]
fn a_value_in_use_is_not_removed() {
    let tape = Tape::new();
    let ((x, x_at), w) = ((tape.input(2.0).named("x"), line!()), tape.param(1.0));
    let (y, y_at) = (x * w, line!());
    let (message, here) = (fails(tape.remove(x)), line!());
    assert_eq!(
        message,
        format!(
            "remove: the value is used by mul [], recorded at L{y_at}\n  --> L{here}\n  input `x` [], recorded at L{x_at}\n  \
             help: remove what uses it first"
        )
    );
    tape.assign(w, y);
    assert!(fails(tape.remove(y)).starts_with("remove: the value takes part in an assignment\n"));
    let z = x + 5.0;
    assert!(z > 1.0);
    assert!(fails(tape.remove(z)).starts_with("remove: the value takes part in a recorded comparison\n"));
    assert_eq!((x.item(), y.item(), z.item()), (2.0, 2.0, 7.0), "nothing was removed");
    let last = y.exp();
    tape.remove(last).unwrap();
    assert_eq!(y.exp().item(), 2.0_f64.exp());
}

#[test]
fn a_number_that_others_have_recorded_too_is_not_removed() {
    let tape = Tape::new();
    let (a, b) = (tape.constant(3.0), tape.constant(3.0));
    tape.remove(a).unwrap();
    assert_eq!((a.item(), b.item(), tape.constant(3.0).item()), (3.0, 3.0, 3.0));
    let (u, v) = (tape.input(1.0), tape.input(2.0));
    for gradient in tape.grad(u + v, &[u, v]) {
        tape.remove(gradient).unwrap();
        assert_eq!(gradient.item(), 1.0);
    }
}

#[test]
fn what_a_value_was_before_it_was_rewritten_is_in_use_as_long_as_the_value_is() {
    // Differentiating makes -softplus(z) of the logarithm, which then does not read the difference.
    let tape = Tape::new();
    let z = tape.input(0.3);
    let s = z.sigmoid();
    let difference = 1.0 - s;
    let loss = difference.ln();
    assert!(tape.grad(loss, &[z])[0].item() < 0.0);
    assert!(tape.remove(difference).unwrap_err().to_string().contains("the value is used by"));
    let by_inner = tape.grad(loss, &[s])[0];
    assert!((by_inner.item() + 1.0 / (1.0 - s.item())).abs() < 1e-14);
}

#[test]
fn a_cleared_tape_makes_all_its_handles_stale() {
    let tape = Tape::new();
    let bad = tape.input(2.0).named("x");
    let cleared = line!() + 1;
    tape.clear();
    assert!(tape.is_empty());
    let (good, param) = (tape.input(1.0), tape.param(1.0));
    assert_eq!(good.id().index(), bad.id().index(), "the slot is used again, so the version must tell");
    let what = format!("stale handle: its tape was cleared at L{cleared}");
    check(mixed_uses(&tape, good, param, bad), &what);
    check(own_uses(bad), &what);
    assert_eq!(good.item(), 1.0);
}

#[test]
fn a_slot_used_again_never_lends_its_value_to_an_old_handle() {
    let tape = Tape::new();
    let old = tape.input(2.0).named("old");
    let program: Program<f64> = tape.compile(&[old]).unwrap();
    tape.remove(old).unwrap();
    let new = tape.input(7.0).named("new");
    assert_eq!(old.id().index(), new.id().index(), "the slot is used again, so the version must tell");
    assert_ne!(old.id(), new.id());
    assert!(!old.is_same_as(new));
    check(own_uses(old), &fails(old.try_add(new)).lines().next().unwrap()["add: ".len()..]);
    assert_eq!((new.item(), new.name().as_deref()), (7.0, Some("new")));

    // A program compiled before the removal knows the old value, by the old handle only.
    let mut state = program.state();
    state.set(old, &[3.0]).unwrap();
    program.replay(&mut state).unwrap();
    assert_eq!(state.item(old), 3.0);
    assert!(fails(state.try_get(new)).starts_with("input `new` [], recorded at L"));
    assert!(fails(state.set(new, &[1.0])).contains("is not an input or parameter that the program uses"));

    // And one compiled after it knows the new value, by the new handle only.
    let program: Program<f64> = tape.compile(&[new.exp()]).unwrap();
    let mut state = program.state();
    let stale = "stale handle: the value was removed from its tape before the program was compiled";
    assert_eq!(fails(state.try_get(old)), stale);
    assert_eq!(fails(state.set(old, &[1.0])), stale);
    assert_eq!(fails(state.set_index(old, &[1])), stale);
    assert_eq!(state.get(new), [7.0]);

    // The same recording again, after clearing, has slots but no handles in common with the first.
    tape.clear();
    let again = (0..10).map(|_| tape.input(9.0)).find(|again| again.id().index() == old.id().index()).unwrap();
    assert!(state.try_get(again).is_err());
    assert!(panics(|| new + again).contains("stale handle: its tape was cleared"));
}

#[test]
fn handles_of_another_tape_are_refused_everywhere() {
    let (tape, other) = (Tape::new(), Tape::new());
    let (good, param) = (tape.input(1.0).named("x"), tape.param(1.0));
    let bad = other.input(2.0).named("y");
    for (op, message, line) in mixed_uses(&tape, good, param, bad) {
        assert!(
            message.starts_with(&format!("{op}: the operands belong to different tapes\n  --> L{line}\n"))
                || message
                    .starts_with(&format!("{op}: a value of another tape was given to this one\n  --> L{line}\n")),
            "{message}"
        );
        assert!(message.contains("input `y` [], recorded at L"), "{message}");
    }
    let (message, here) = (panics(|| good * bad), line!());
    let (x, y) = ("a: input `x` [], recorded at L", "b: input `y` [], recorded at L");
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines[..2], ["mul: the operands belong to different tapes".to_owned(), format!("  --> L{here}")]);
    assert!(lines[2].trim_start().starts_with(x) && lines[3].trim_start().starts_with(y), "{message}");
    assert_eq!(lines[4], "  help: record both on one tape, or pass a number across with `tape.constant(v.value())`");
    for (message, op) in [
        (fails(tape.try_grad(bad, &[good])), "grad"),
        (fails(tape.try_grad(good, &[bad])), "grad"),
        (fails(tape.try_assign(param, bad)), "assign"),
        (fails(tape.try_assign(bad, good)), "assign"),
        (fails(tape.compile::<f64>(&[bad])), "compile"),
        (fails(tape.remove(bad)), "remove"),
    ] {
        assert!(message.starts_with(&format!("{op}: a value of another tape was given to this one\n")), "{message}");
        assert!(message.ends_with(
            "help: ask the tape that recorded it, or pass its number across with `tape.constant(v.value())`"
        ));
    }
    assert_eq!(good.try_add(bad).unwrap_err().kind(), RecordErrorKind::Foreign);
    assert_eq!(tape.try_grad(good, &[bad]).unwrap_err().kind(), RecordErrorKind::Foreign);

    let program: Program<f64> = tape.compile(&[good]).unwrap();
    let mut state = program.state();
    let labels = other.index_input([0]);
    for message in [fails(state.try_get(bad)), fails(state.set(bad, &[1.0])), fails(state.set_index(labels, &[0]))] {
        assert!(message.ends_with("belongs to another tape than the one the program was compiled from"), "{message}");
    }
    assert!(state.gradients().get(bad).is_none());
    assert_eq!(state.get(good), [1.0]);
    assert_eq!((good + tape.constant(bad.value())).item(), 3.0, "the way the message names works");
}

#[test]
fn handles_of_a_dropped_tape_are_told_as_such() {
    let tape = Tape::new();
    let (good, param) = (tape.input(1.0), tape.param(1.0));
    let other = Tape::new();
    let bad = other.input(2.0);
    drop(other);
    let third = Tape::new();
    let _reuses_the_slot_of_the_tape = third.input(9.0);
    let what = "this handle belongs to a tape that was dropped";
    check(mixed_uses(&tape, good, param, bad), what);
    check(own_uses(bad), what);
    let error = good.try_add(bad).unwrap_err();
    assert_eq!(error.kind(), RecordErrorKind::Dropped);
    let help = "help: keep the `Tape` alive while its handles are in use; a `Program` is what outlives it";
    assert!(error.to_string().ends_with(help), "{error}");
    assert_eq!(format!("{bad:?}"), "Var(of a dropped tape)");
}

#[test]
fn a_program_outlives_its_tape_and_still_answers_to_its_handles() {
    let tape = Tape::new();
    let x = tape.input(2.0);
    let y = x * x;
    let program: Program<f64> = tape.compile(&[y]).unwrap();
    drop(tape);
    let mut state = program.state();
    state.set(x, &[5.0]).unwrap();
    program.replay(&mut state).unwrap();
    assert_eq!(state.item(y), 25.0);
    let stranger = Tape::new().input(1.0);
    assert_eq!(
        fails(state.try_get(stranger)),
        "this value belongs to another tape than the one the program was compiled from"
    );
}

#[test]
fn equal_keys_of_another_thread_are_not_taken_for_its_own() {
    fn record() -> (Tape, Var) {
        let tape = Tape::new();
        let x = tape.param(2.0);
        tape.assign(x, x + 1.0);
        (tape, x)
    }
    let far = std::thread::spawn(|| {
        let (tape, x) = record();
        let program: Program<f64> = tape.compile(&[]).unwrap();
        (program.state(), program, x.id())
    });
    let (mut state, program, id): (State<f64>, _, _) = far.join().unwrap();
    std::thread::spawn(move || {
        let (tape, x) = record();
        assert_eq!(x.id(), id, "both threads hand out the same keys");
        let message = fails(state.set(x, &[100.0]));
        assert!(message.ends_with("belongs to another tape than the one the program was compiled from"), "{message}");
        assert!(state.try_get(x).is_err());
        program.replay(&mut state).unwrap();
        let own: Program<f64> = tape.compile(&[]).unwrap();
        let mut mine = own.state();
        assert!(mine.copy_params_from(&state).is_err());
        own.replay(&mut mine).unwrap();
        assert_eq!(mine.item(x), 3.0);
    })
    .join()
    .unwrap();
}

/// A type that is not `Send` has exactly one `check`, so that it can be named; one that is `Send` has two.
macro_rules! assert_not_send {
    ($($type:ty),+) => {$(
        const _: fn() = || {
            trait OnlyOnce<A> {
                fn check() {}
            }
            impl<T: ?Sized> OnlyOnce<()> for T {}
            #[allow(dead_code)]
            struct Twice;
            impl<T: ?Sized + Send> OnlyOnce<Twice> for T {}
            let _ = <$type as OnlyOnce<_>>::check;
        };
    )+};
}
assert_not_send!(Var, Tape);

#[test]
fn programs_and_states_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Program<f32>>();
    crosses::<Program<f64>>();
    crosses::<State<f32>>();
    crosses::<State<f64>>();
    crosses::<tapegrad::RecordError>();
    crosses::<tapegrad::ReplayError>();
}
