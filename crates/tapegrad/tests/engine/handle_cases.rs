//! A table of everything that can be done with a handle that is not valid, or with a state that is another's: stale, foreign, forged, after
//! drop, removed twice. Each has a message of its own, exactly that of `golden/handle_cases.txt` (`TAPEGRAD_UPDATE_GOLDEN=1` writes it
//! anew), and none gives the value of another node.
//!
//! Lines of this file are written as `HERE`.
#![allow(clippy::unwrap_used)]

use slotmap::{Key, KeyData};
use std::collections::BTreeSet;
use std::fmt::{Debug, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tapegrad::ir::{Graph, NodeId};
use tapegrad::{Indices, Program, ReplayError, State, Tape, Tensor, Var};

/// A message with lines of this file written as `HERE`.
fn masked(message: &str) -> String {
    let mut parts = message.split(concat!(file!(), ":"));
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        let rest = part.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(part.len());
        out += "HERE";
        out += &part[rest..];
    }
    out
}

fn fails<R: Debug, E: ToString>(result: Result<R, E>) -> String {
    masked(&result.expect_err("this should be refused").to_string())
}

fn panics<R>(f: impl FnOnce() -> R) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).err().expect("this should panic");
    masked(payload.downcast_ref::<String>().expect("a message"))
}

/// The cases of one kind: what is done, and what is said.
type Cases = Vec<(&'static str, String)>;

/// The numbers that stand where a wrong handle could be looked up; none of them may be shown.
const OTHERS: [f64; 3] = [71.0, 72.0, 73.0];

fn stale() -> Cases {
    let tape = Tape::new();
    let (good, param) = (tape.input(1.0).named("good"), tape.param(1.0).named("w"));
    let old = tape.input(2.0).named("old");
    let before: Program<f64> = tape.compile(&[old]).unwrap();
    tape.remove(old).unwrap();
    // It takes the slot of the removed one.
    let new = tape.input(OTHERS[0]).named("new");
    assert_eq!(new.id().index(), old.id().index());
    let after: Program<f64> = tape.compile(&[new]).unwrap();
    let (mut known, mut unknown) = (before.state(), after.state());
    assert_eq!(known.get(old), [2.0], "the old program has the old value");
    vec![
        ("read a removed value", panics(|| old.item())),
        ("ask a removed value for its shape", panics(|| old.shape())),
        ("name a removed value", panics(|| old.named("again"))),
        ("add a removed value", fails(good.try_add(old))),
        ("apply a function to a removed value", panics(|| old.exp())),
        ("compare a removed value", panics(|| old > 1.0)),
        ("differentiate a removed value", fails(tape.try_grad(old, &[good]))),
        ("differentiate by a removed value", fails(tape.try_grad(good, &[old]))),
        ("push a removed tangent", fails(tape.try_jvp(&[good], &[good], &[old]))),
        ("pull a removed cotangent", fails(tape.try_vjp(good, old, &[good]))),
        ("take the Hessian by a removed value", fails(tape.try_hessian(good, old))),
        ("assign a removed value", fails(tape.try_assign(param, old))),
        ("assign to a removed value", fails(tape.try_assign(old, good))),
        ("forget the assignment to a removed value", panics(|| tape.unassign(old))),
        ("compile a removed value", fails(tape.compile::<f64>(&[old]))),
        ("remove twice", fails(tape.remove(old))),
        ("set a value removed before compiling", fails(unknown.set(old, &[1.0]))),
        ("set indices removed before compiling", fails(unknown.set_index(old, &[1]))),
        ("get a value removed before compiling", fails(unknown.try_get(old))),
        ("set the new value of a slot in an old program", fails(known.set(new, &[1.0]))),
        ("get the new value of a slot from an old program", fails(known.try_get(new))),
    ]
}

fn foreign() -> Cases {
    let (tape, other) = (Tape::new(), Tape::new());
    let (good, param) = (tape.input(1.0).named("good"), tape.param(1.0).named("w"));
    // Of the same key as `good`.
    let bad = other.input(OTHERS[1]).named("bad");
    assert_eq!(good.id(), bad.id());
    let labels = other.index_input(Indices::from([0]));
    let program: Program<f64> = tape.compile(&[good, param]).unwrap();
    let mut state = program.state();
    vec![
        ("multiply by a value of another tape", fails(good.try_mul(bad))),
        ("stack a value of another tape", fails(Var::try_concat(&[good.reshape([1]), bad.reshape([1])], 0))),
        ("choose by a value of another tape", panics(|| bad.select(good, param))),
        ("pick by indices of another tape", fails(good.try_gather(labels))),
        ("ask another tape for a gradient", fails(tape.try_grad(bad, &[good]))),
        ("ask for a gradient by a value of another tape", fails(tape.try_grad(good, &[bad]))),
        ("ask another tape for a Jacobian", fails(tape.try_jacobian(bad, bad))),
        ("assign a value of another tape", fails(tape.try_assign(param, bad))),
        ("compile for another tape", fails(tape.compile::<f64>(&[bad]))),
        ("remove from another tape", fails(tape.remove(bad))),
        ("set a value of another tape", fails(state.set(bad, &[1.0]))),
        ("set indices of another tape", fails(state.set_index(labels, &[0]))),
        ("get a value of another tape", fails(state.try_get(bad))),
        ("get a gradient by a value of another tape", panics(|| state.gradients()[bad].to_vec())),
        ("copy parameters from another tape's program", {
            let strange: Program<f64> = other.compile(&[bad]).unwrap();
            fails(state.copy_params_from(&strange.state()))
        }),
    ]
}

fn dropped() -> Cases {
    let tape = Tape::new();
    let good = tape.input(1.0).named("good");
    let gone = Tape::new();
    let bad = gone.input(2.0);
    drop(gone);
    // It takes the slot of the dropped tape.
    let third = Tape::new();
    let _stranger = third.input(OTHERS[2]);
    let cleared = Tape::new();
    let lost = cleared.input(3.0).named("lost");
    cleared.clear();
    let _new = cleared.input(OTHERS[2]);
    vec![
        ("read a value of a dropped tape", panics(|| bad.item())),
        ("add a value of a dropped tape", fails(good.try_add(bad))),
        ("record on a dropped tape", panics(|| bad + 1.0)),
        ("ask for a gradient of a value of a dropped tape", fails(tape.try_grad(bad, &[good]))),
        ("compile a value of a dropped tape", fails(tape.compile::<f64>(&[bad]))),
        ("read a value of a cleared tape", panics(|| lost.item())),
        ("compile a value of a cleared tape", fails(cleared.compile::<f64>(&[lost]))),
    ]
}

/// Keys that nobody handed out. Handles cannot be made of them; graphs can be asked for them.
fn forged() -> Cases {
    let tape = Tape::new();
    let x = tape.input(OTHERS[0]).named("x");
    let graph: Graph = tape.graph();
    let ffi = x.id().data().as_ffi();
    let null = NodeId::null();
    let another_version = NodeId::from(KeyData::from_ffi(ffi + (2 << 32)));
    let another_slot = NodeId::from(KeyData::from_ffi(ffi + 1000));
    for key in [null, another_version, another_slot] {
        assert!(graph.get(key).is_none() && graph.leaf_value(key).is_none() && graph.name(key).is_none());
    }
    vec![
        ("describe a null key", graph.describe(null)),
        ("describe a key of another version", format!("{} (version)", graph.describe(another_version))),
        ("describe a key of another slot", format!("{} (slot)", graph.title(another_slot))),
    ]
}

/// States that are another program's, outputs that are not there, and parameters that change between one replay and the next.
fn states() -> Cases {
    let tape = Tape::new();
    let w = tape.param(2.0).named("w");
    let loss = if w > 0.0 { w * w } else { -w };
    let g = tape.grad(loss, &[w])[0].named("g");
    let forward: Program<f64> = tape.compile(&[loss]).unwrap();
    let backward: Program<f64> = tape.compile(&[g]).unwrap();
    let (mut values, mut slopes): (State<f64>, State<f64>) = (forward.state(), backward.state());
    let not_yet = fails(slopes.try_get(g));
    let no_gradient_yet = panics(|| slopes.gradients()[w].to_vec());
    forward.replay(&mut values).unwrap();
    let foreign = backward.replay(&mut values).unwrap_err();
    assert_eq!(foreign, ReplayError::ForeignState);
    // The parameter changes between the value and the gradient so that the branch would be another.
    slopes.set(w, &[-3.0]).unwrap();
    let changed = fails(backward.replay(&mut slopes));
    vec![
        ("read an output before the first replay", not_yet),
        ("read a gradient before the first replay", no_gradient_yet),
        ("replay the gradient on the state of the value", masked(&foreign.to_string())),
        ("change a parameter so that another branch would be taken", changed),
        ("read a gradient that was refused", fails(slopes.try_get(g))),
        ("index a gradient that was refused", panics(|| slopes.gradients()[w].to_vec())),
        ("set what is computed", fails(values.set(loss, &[1.0]))),
        ("set too many numbers", fails(values.set(w, &[1.0, 2.0]))),
        ("set a value of another shape", fails(values.set_tensor(w, &Tensor::from([1.0])))),
        ("get what is no output", fails(values.try_get(g))),
    ]
}

#[test]
fn each_case_is_refused_with_its_own_message_and_never_another_node_s_value() {
    let kinds = [
        ("stale", stale()),
        ("foreign", foreign()),
        ("dropped", dropped()),
        ("forged", forged()),
        ("states", states()),
    ];
    let (mut text, mut done, mut messages) = (String::new(), BTreeSet::new(), BTreeSet::new());
    for (kind, cases) in &kinds {
        for (what, message) in cases {
            writeln!(text, "{kind}: {what}\n    {}", message.replace('\n', "\n    ")).unwrap();
            assert!(done.insert(what), "{what}: twice");
            messages.insert(message);
            assert!(
                OTHERS.iter().all(|x| !message.contains(&x.to_string())),
                "{what} shows another's value: {message}"
            );
        }
    }
    println!("{} cases, {} messages", done.len(), messages.len());
    // Only what is asked of a state in several ways is answered alike.
    assert!(done.len() >= 56 && messages.len() >= 48, "{} cases, {} messages", done.len(), messages.len());
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/handle_cases.txt");
    if std::env::var_os("TAPEGRAD_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (line, (found, wanted)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(found, wanted, "line {} of golden/handle_cases.txt", line + 1);
    }
    assert_eq!(text.lines().count(), golden.lines().count());
}

/// PyTorch counts the versions of tensors and refuses a backward pass over one that was changed after the forward pass. Here no such
/// pass can be made: forward and backward are one replay, or two that each begin with the forward part.
#[test]
fn a_gradient_belongs_to_the_parameters_of_its_own_replay() {
    let tape = Tape::new();
    let (w, v) = (tape.param(2.0), tape.param(5.0));
    let loss = w * w * v;
    let gradients = tape.grad(loss, &[w, v]);
    // Changed by the program itself: value and gradients are of the parameters as they were.
    tape.assign(w, w - 0.125 * gradients[0]);
    tape.assign(v, v - 0.125 * gradients[1]);
    let program: Program<f64> = tape.compile(&[loss, gradients[0], gradients[1]]).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    assert_eq!([loss, gradients[0], gradients[1]].map(|x| state.item(x)), [20.0, 20.0, 4.0]);
    assert_eq!([w, v].map(|x| state.item(x)), [-0.5, 4.5]);
    // Changed by hand, one after the other: what was computed stays what it was, until the next replay.
    state.set(w, &[3.0]).unwrap();
    assert_eq!(state.gradients()[v], [4.0]);
    state.set(v, &[1.0]).unwrap();
    program.replay(&mut state).unwrap();
    assert_eq!([loss, gradients[0], gradients[1]].map(|x| state.item(x)), [9.0, 6.0, 9.0]);

    // Value and gradient by programs of their own: the second computes the forward part anew, from its own parameters.
    let tape = Tape::new();
    let w = tape.param(2.0);
    let loss = w.exp();
    let g = tape.grad(loss, &[w])[0];
    let (forward, backward): (Program<f64>, Program<f64>) =
        (tape.compile(&[loss]).unwrap(), tape.compile(&[g]).unwrap());
    let (mut values, mut slopes) = (forward.state(), backward.state());
    forward.replay(&mut values).unwrap();
    values.set(w, &[0.5]).unwrap();
    slopes.copy_params_from(&values).unwrap();
    backward.replay(&mut slopes).unwrap();
    assert!((slopes.item(g) - 0.5_f64.exp()).abs() < 1e-15, "not e², the slope where the value was computed");
}
