//! Which parameters are updated alike: those stand side by side, and one piece of code updates all of them.
//!
//! ```text
//!   w₁ − lr·g₁  (10)  ┐                                  ┌ w₁ │ b₁ │ w₂ │ b₂ │ w₃ │ b₃ ┐
//!   b₁ − lr·g₂   (5)  │  one group, in whole vectors     └─────────── 51 ──────────────┘
//!   …                 ┘  but for the last few            ┌ g₁ │ g₂ │ …
//! ```
//!
//! Moments of an optimiser, whose updates are of another form than those of the weights, are groups of their own.

use super::axes::Rows;
use super::blocks::Update;
use crate::ir::{Graph, Kernel, NodeId};
use hashbrown::HashMap;

/// Expressions that are the same to this depth are alike.
const DEPTH: usize = 6;

/// An expression, from its operations: what is not computed element by element is of one kind, but parameters are known from all else.
fn form(graph: &Graph, id: NodeId, depth: usize, of: &mut Vec<&'static str>) {
    let mut node = graph.node(id);
    while let Kernel::Broadcast | Kernel::Reshape | Kernel::Permute = node.op.kernel {
        node = graph.node(node.inputs[0]);
    }
    match node.op.kernel {
        Kernel::Elementwise(_) if depth > 0 => {
            of.push(node.op.name);
            node.inputs.iter().for_each(|&input| form(graph, input, depth - 1, of));
        }
        Kernel::Leaf => of.push(node.op.name),
        _ => of.push(""),
    }
}

/// Parameters that are no columns, each with its new value, in groups whose updates have one form; in the order in which they come.
pub(super) fn groups(graph: &Graph, rows: &Rows, updates: &[(NodeId, NodeId)]) -> Vec<Vec<NodeId>> {
    let mut known: HashMap<Vec<&str>, usize> = HashMap::new();
    let mut groups: Vec<Vec<NodeId>> = Vec::new();
    for &(param, value) in updates.iter().filter(|(param, _)| rows.axis[param.index()].is_none()) {
        let mut of = Vec::new();
        form(graph, value, DEPTH, &mut of);
        let number = *known.entry(of).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[number].push(param);
    }
    groups
}

/// The updates with those of each group as one; groups begin at the places `first`, and their parameters follow each other. Without
/// groups, all stay as they are.
pub(super) fn join(updates: &[Update], first: &[usize]) -> Vec<Update> {
    if first.is_empty() {
        return updates.to_vec();
    }
    let mut sorted: Vec<&Update> = updates.iter().collect();
    sorted.sort_by_key(|update| update.place);
    let mut joined: Vec<Update> = Vec::new();
    for update in sorted {
        match joined.last_mut() {
            Some(last)
                if !last.row
                    && !update.row
                    && last.place + last.values.len() == update.place
                    && !first.contains(&update.place) =>
            {
                last.values.extend_from_slice(&update.values);
            }
            _ => joined.push(update.clone()),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_of_a_group_are_one_as_far_as_they_follow_each_other() {
        let update = |place, len: u32, row| Update { place, values: (0..len).collect(), row };
        let updates = [
            update(10, 5, false),
            update(0, 10, false),
            update(15, 2, false),
            update(24, 3, false),
            update(27, 1, true),
        ];
        let joined: Vec<(usize, usize)> = join(&updates, &[0, 15]).iter().map(|u| (u.place, u.values.len())).collect();
        assert_eq!(joined, [(0, 15), (15, 2), (24, 3), (27, 1)]);
        assert_eq!(join(&updates, &[]).len(), updates.len());
        // In the order of their places.
        assert_eq!(
            join(&updates, &[0])[0].values,
            [(0..10).collect::<Vec<_>>(), (0..5).collect(), (0..2).collect()].concat()
        );
    }
}
