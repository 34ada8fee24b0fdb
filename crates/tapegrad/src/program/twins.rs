//! A function of a number and its derivative that share most of their steps, so that both take little longer than one. Where both are computed of the
//! same number, one right after the other, they are computed together.

use super::inst::{Inst, Opcode};
use super::step::Fused;
use crate::ir::{Elementwise, NodeId, OpDef, Reading};
use crate::num;
use crate::ops;
use hashbrown::HashMap;
use tapegrad_jit::PairFunction;

/// First and second: of sine and cosine each is the other's derivative.
const TWINS: [(&OpDef, &OpDef); 3] =
    [(&ops::SIN, &ops::COS), (&ops::TANH, &ops::DTANH), (&ops::SIGMOID, &ops::DSIGMOID)];

/// What computes both, in the order of [`TWINS`].
fn both<T: Reading>() -> [PairFunction<T>; TWINS.len()] {
    [num::sin_cos, num::tanh_with_slope, num::logistic_with_slope]
}

/// The function that is computed with one, after it.
#[derive(Clone, Copy)]
pub(crate) struct Twin<T> {
    pub(super) second: &'static Elementwise,
    pub(crate) both: PairFunction<T>,
}

impl<T: Reading> Twin<T> {
    pub(super) fn of(first: &OpDef) -> Option<Self> {
        let (&(_, second), both) = TWINS.iter().zip(both()).find(|((of, _), _)| first.is(of))?;
        Some(Twin { second: second.elementwise()?, both })
    }
}

/// What computes this instruction of a group and the next one together, if they are twins.
pub(super) fn together<T>(f: &Fused<T>, body: &[Inst]) -> Option<PairFunction<T>> {
    let &[first, second, ..] = body else { return None };
    let calls = (first.op, second.op) == (Opcode::Call, Opcode::Call);
    // What the first one overwrites is not what the second one reads.
    if !calls || first.a != second.a || first.dst == second.a || first.dst == second.dst {
        return None;
    }
    let twin = f.calls.get(first.aux as usize)?.twin.as_ref()?;
    let is_second = std::ptr::eq(f.calls.get(second.aux as usize)?.elementwise, twin.second);
    is_second.then_some(twin.both)
}

/// Whether there are twins among operations.
pub(super) fn are_among(is_there: impl Fn(&'static OpDef) -> bool) -> bool {
    TWINS.iter().any(|(first, second)| is_there(first) && is_there(second))
}

/// Puts twins of one number, by the buffer it is in and where, side by side; but not those of which `enough` stand side by side already, to be
/// computed in vectors.
pub(super) fn side_by_side(
    nodes: &mut [NodeId],
    op: impl Fn(NodeId) -> &'static OpDef,
    operand: impl Fn(NodeId) -> (NodeId, usize),
    enough: usize,
) {
    // Where the first and the second of each kind and number stand.
    let mut found: HashMap<(usize, (NodeId, usize)), [Option<usize>; 2]> = HashMap::new();
    let mut position = 0;
    while position < nodes.len() {
        let of = op(nodes[position]);
        let run = nodes[position..].iter().take_while(|&&id| op(id).is(of)).count();
        let which = (0..TWINS.len()).find_map(|kind| {
            let (first, second) = TWINS[kind];
            [first, second].iter().position(|twin| of.is(twin)).map(|which| (kind, which))
        });
        if let Some((kind, which)) = which.filter(|_| run < enough) {
            for (at, &id) in nodes.iter().enumerate().skip(position).take(run) {
                found.entry((kind, operand(id))).or_default()[which].get_or_insert(at);
            }
        }
        position += run;
    }
    // Where the first of the two stood, both stand.
    let mut instead: HashMap<usize, [Option<usize>; 2]> = HashMap::new();
    for pair in found.into_values() {
        if let [Some(a), Some(b)] = pair {
            instead.insert(a.min(b), [Some(a), Some(b)]);
            instead.insert(a.max(b), [None; 2]);
        }
    }
    if !instead.is_empty() {
        let places = (0..nodes.len()).flat_map(|at| instead.get(&at).copied().unwrap_or([Some(at), None]));
        let moved: Vec<NodeId> = places.flatten().map(|at| nodes[at]).collect();
        nodes.copy_from_slice(&moved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Tape;

    #[test]
    fn twins_come_together_where_the_first_of_them_stood_unless_there_are_enough_of_one() {
        let order = |record: fn(&Tape)| {
            let tape = Tape::new();
            record(&tape);
            let graph = tape.graph();
            let mut nodes = graph.order().to_vec();
            side_by_side(&mut nodes, |id| graph.op(id), |id| (graph.inputs(id).first().copied().unwrap_or(id), 0), 4);
            nodes.iter().map(|&id| graph.op(id).name).collect::<Vec<_>>().join(" ")
        };
        let apart = |tape: &Tape| {
            let (x, y) = (tape.input(1.0), tape.input(2.0));
            let (cos, exp) = (x.cos(), x.exp());
            let _ = (cos * exp, x.sin(), y.cos(), x.cos());
        };
        assert_eq!(order(apart), "input input sin cos exp mul cos cos");
        let once = |tape: &Tape| {
            let x = tape.input(1.0);
            let (cos, exp) = (x.cos(), x.exp());
            let _ = (cos * exp, x.sin(), exp.sin());
        };
        assert_eq!(order(once), "input sin cos exp mul sin");
        let kinds = |tape: &Tape| {
            let x = tape.input(1.0);
            let (slope, sigmoid) = (x.dtanh(), x.sigmoid());
            let _ = (slope * sigmoid, x.sin(), x.dsigmoid(), x.tanh());
        };
        assert_eq!(order(kinds), "input tanh dtanh sigmoid dsigmoid mul sin");
        let many = |tape: &Tape| {
            let x: Vec<_> = (0..4).map(|i| tape.input(f64::from(i))).collect();
            let sines: Vec<_> = x.iter().map(|x| x.sin()).collect();
            let _ = sines.into_iter().zip(x).map(|(sin, x)| sin * x.cos()).collect::<Vec<_>>();
        };
        assert_eq!(order(many), "input input input input sin sin sin sin cos mul cos mul cos mul cos mul");
    }
}
