//! Dead code elimination: what no root is computed from is dropped, inputs and parameters included.

use crate::ir::{Graph, NodeId};

/// Drops all nodes but the roots and what they are computed from. Returns whether there were any.
pub(super) fn run(graph: &mut Graph, roots: &[NodeId]) -> bool {
    let needed = graph.ancestors(roots.iter().copied());
    let before = graph.len();
    if graph.order().iter().any(|id| !needed[id.index()]) {
        graph.retain(|id| needed[id.index()]);
    }
    graph.len() < before
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Tape;

    #[test]
    fn only_ancestors_of_the_roots_stay() {
        let tape = Tape::new();
        let (x, dead_input) = (tape.input(1.0), tape.input(2.0));
        let y = x.exp();
        let dead = y + dead_input;
        let mut graph = tape.graph();
        assert!(run(&mut graph, &[y.id()]));
        assert_eq!(graph.order(), &[x.id(), y.id()]);
        assert!(graph.get(dead.id()).is_none() && graph.get(dead_input.id()).is_none());
        assert!(!run(&mut graph, &[y.id()]), "a second run finds nothing");
    }
}
