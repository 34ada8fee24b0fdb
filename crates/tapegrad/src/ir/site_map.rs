//! Tables by what many nodes have in common, so that a question asked of each node is answered once for all that are alike.
//!
//! ```text
//!   node ──▶ site: operation, line, type, attributes ──▶ T      a graph of a million nodes has some dozen sites
//! ```

use super::graph::Graph;
use super::node::NodeId;

/// What follows from a node's operation, type and attributes alone; from those of a leaf without the attributes, which differ from
/// leaf to leaf. It is computed when it is first asked for.
#[derive(Clone, Debug)]
pub(crate) struct SiteMap<T>(Vec<Option<T>>);

impl<T> Default for SiteMap<T> {
    fn default() -> Self {
        SiteMap(Vec::new())
    }
}

impl<T: Copy> SiteMap<T> {
    /// What is known of a node, of one and the same graph each time; `find` finds it out.
    #[inline(always)]
    pub(crate) fn get(&mut self, graph: &Graph, id: NodeId, find: impl FnOnce() -> T) -> T {
        let site = graph.site_of(id);
        match self.0.get(site) {
            Some(&Some(known)) => known,
            _ => self.insert(site, find),
        }
    }

    /// Forgets all, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    #[cold]
    #[inline(never)]
    fn insert(&mut self, site: usize, find: impl FnOnce() -> T) -> T {
        let found = find();
        if self.0.len() <= site {
            self.0.resize(site + 1, None);
        }
        self.0[site] = Some(found);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Tape;

    #[test]
    fn what_is_alike_is_asked_about_once() {
        let tape = Tape::new();
        let x = tape.input(1.0);
        let many: Vec<_> = (0..10).map(|_| x.exp()).collect();
        let (graph, mut asked) = (tape.graph(), 0);
        let mut names = SiteMap::default();
        for id in many.iter().map(|v| v.id()).chain([x.id()]) {
            let name = names.get(&graph, id, || {
                asked += 1;
                graph.op(id).name
            });
            assert_eq!(name, graph.op(id).name);
        }
        assert_eq!(asked, 2, "the line of the exponentials, and that of the input");
    }
}
