//! Programs compiled from what was recorded.

use super::bytes::Bytes;
use std::collections::HashMap;
use tapegrad::eval::eval_graph;
use tapegrad::ir::{DType, LeafValue, NodeId};
use tapegrad::{CompileOptions, Element, Indices, Passes, Program, State, Tape, Tensor, Var};

/// Operations that add up, in an order that compiling may change.
const SUMS: [&str; 3] = ["sum", "matmul", "scatter_add"];

/// Compiles `outputs` in several ways, sets leaves, replays, and compares where the result is known to the last bit.
pub(super) fn compare(tape: &Tape, outputs: &[Var], alive: &[Var], sound: bool, bytes: &mut Bytes<'_>) {
    let plain = CompileOptions::default().passes(Passes::none()).machine_code(false).assigns(false);
    let Ok(program) = tape.compile_with::<f64>(outputs, &plain) else { return };
    assert!(sound, "compiled from handles that are not good");
    let mut state = program.state();
    let given = set_leaves(&mut state, alive, bytes);
    if program.replay(&mut state).is_ok() {
        let graph = tape.graph();
        let ids: Vec<NodeId> = outputs.iter().map(|v| v.id()).collect();
        let wanted = eval_graph(&graph, &ids, &given);
        for (output, wanted) in outputs.iter().zip(wanted) {
            let LeafValue::Real(wanted) = wanted else { unreachable!("outputs are real") };
            let from = graph.ancestors([output.id()]);
            let adds = |id: &&NodeId| from[id.index()] && SUMS.contains(&graph.node(**id).op.name);
            let got = state.get(*output);
            assert_eq!(got.len(), wanted.data().len());
            if !graph.order().iter().any(|id| adds(&id)) {
                assert!(same(got, wanted.data()), "{got:?} instead of {wanted}\n{graph}\n{program}");
            }
        }
    }
    let passes = Passes::all_combinations().nth(bytes.below(64)).expect("there are 64");
    let options = CompileOptions::default().passes(passes).machine_code(bytes.below(4) > 0).assigns(bytes.below(2) > 0);
    if bytes.below(4) == 0 {
        again::<f32>(tape, outputs, alive, &options, bytes);
    } else {
        again::<f64>(tape, outputs, alive, &options, bytes);
    }
}

/// Two states of one program, treated alike, stay alike.
fn again<T: Element>(tape: &Tape, outputs: &[Var], alive: &[Var], options: &CompileOptions, bytes: &mut Bytes<'_>) {
    let Ok(program) = tape.compile_with::<T>(outputs, options) else { return };
    assert!(!program.to_string().is_empty());
    let mut first = program.state();
    set_leaves(&mut first, alive, bytes);
    let mut second = first.clone();
    for _ in 0..2 {
        let results = [&mut first, &mut second].map(|state| program.replay(state).is_ok());
        assert_eq!(results[0], results[1]);
        let numbers = |state: &State<T>, v: Var| -> Option<Vec<f64>> {
            Some(state.try_get(v).ok()?.iter().map(|x| x.to_f64()).collect())
        };
        for &v in outputs {
            match (numbers(&first, v), numbers(&second, v)) {
                (Some(a), Some(b)) => assert!(same(&a, &b), "{a:?} and {b:?}\n{program}"),
                (a, b) => assert_eq!(a, b),
            }
        }
    }
    refuse_others(&program, bytes);
}

/// A state of another program is refused, and handles of another tape.
fn refuse_others<T: Element>(program: &Program<T>, bytes: &mut Bytes<'_>) {
    let tape = Tape::new();
    let x = tape.input(bytes.number());
    let mut state = program.state();
    assert!(state.try_get(x).is_err() && state.set_scalar(x, T::from_f64(1.0)).is_err());
    if let Ok(other) = tape.compile::<T>(&[x + 1.0]) {
        assert!(program.replay(&mut other.state()).is_err());
    }
}

/// Sets some leaves to new values; those set, for the naive evaluator.
fn set_leaves<T: Element>(state: &mut State<T>, alive: &[Var], bytes: &mut Bytes<'_>) -> HashMap<NodeId, LeafValue> {
    let mut given = HashMap::new();
    for &v in alive {
        if bytes.below(4) > 0 {
            continue;
        }
        let ty = v.ty();
        if ty.dtype == DType::Index {
            let data: Vec<usize> = (0..ty.shape.numel()).map(|_| bytes.below(4)).collect();
            if state.set_index(v, &data).is_ok() {
                let value = Indices::new(&ty.shape, &data).expect("as many indices as the shape says");
                given.insert(v.id(), LeafValue::Index(value));
            }
            assert!(state.set_index(v, &vec![usize::MAX; data.len() + 1]).is_err());
        } else {
            let value = Tensor::from_fn(&ty.shape, |_| bytes.number());
            if state.set_tensor(v, &value).is_ok() {
                given.insert(v.id(), LeafValue::Real(value));
            }
            assert!(state.set(v, &vec![T::from_f64(1.0); ty.shape.numel() + 1]).is_err());
        }
    }
    given
}

/// Equal to the last bit, or both no numbers.
fn same(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()))
}
