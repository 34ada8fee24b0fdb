//! Passes: changes to a graph that keep its meaning.
//!
//! ```text
//!            ┌─ dce ─▶ rewrite ─▶ ( fold ─▶ dce ─▶ cse )× ─▶ signs ─▶ regroup ─▶ dce ─┐
//!   Graph ──▶│  stable forms           cheaper             no negations  long sums      │──▶ Graph
//!            └──────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! | pass | what it may change |
//! |---|---|
//! | `rewrite` | rounding: a form that overflows or cancels becomes the one that does not, never the other way round; nothing: of a log-softmax only what is picked is worked out |
//! | `fold` | nothing in `f64`: what it computes beforehand or leaves out is equal bit for bit, also for NaN, −0 and ∞ (constants of `f32` programs are computed in `f64`) |
//! | `cse` | nothing: equal computations are done once |
//! | `signs` | nothing: negations that products carry into sums are left out (machine code that joins products to sums may join others then, and round otherwise) |
//! | `regroup` | rounding: the terms of a long sum are added up in sixteen parts, with a smaller bound of the error |
//! | `dce` | nothing: what no root needs is dropped |
//!
//! (A NaN stays a NaN; which of the many bit patterns of NaN it has is not promised by any processor.)
//!
//! Every pass is a walk along the order with tables indexed by [`NodeId::index`]: linear time, no recursion over the graph. Most nodes
//! match no rule, which a look at a few bits tells (`kind`), known by what nodes have in common.
//! Of a program that is compiled, `run_quotients` comes last: a softmax divides once for each of its sums and multiplies (rounding, one unit in
//! the last place more at most).
//! `rewrite` also runs on the live tape before it is differentiated, because the derivative of a stable form is stable
//! and that of the other is not. Imports `ir`, `ops`, `eval`, `num` and `error`; never `program` or `exec`.

mod bypass;
mod cse;
mod dce;
mod fold;
mod insert;
mod kind;
mod pattern;
mod regroup;
mod rewrite;
mod signs;

pub(crate) use bypass::{around, behind, bypassed, dependent, derived};
pub(crate) use rewrite::{may_be_inner, rewrite, rewrite_for, rewrite_unstable_for};
pub(crate) use signs::Products;

use crate::ir::{Graph, Inputs, NodeId, Tape, verify};
use rewrite::rewrite_quotients;

/// Which passes to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passes {
    /// Forms that overflow or cancel become stable ones; and in compiled programs, a softmax divides once for each of its sums.
    pub rewrite: bool,
    /// Constants are computed beforehand; operations that change nothing are left out.
    pub fold: bool,
    /// Equal computations are done once.
    pub cse: bool,
    /// What no root needs is dropped.
    pub dce: bool,
    /// Sums of sixteen and more single numbers, recorded one addition soon after the other, become sixteen sums side by side that are joined
    /// in pairs.
    pub regroup: bool,
    /// Negations that products carry into sums are left out. (Of maps, and of programs for [`Tier::Auto`](crate::Tier::Auto) and
    /// [`Tier::Optimised`](crate::Tier::Optimised) where the CPU has a code generator; others keep theirs.)
    pub signs: bool,
}

impl Default for Passes {
    /// All of them.
    fn default() -> Self {
        Passes { rewrite: true, fold: true, cse: true, dce: true, regroup: true, signs: true }
    }
}

impl Passes {
    /// None of them.
    #[must_use]
    pub fn none() -> Self {
        Passes { rewrite: false, fold: false, cse: false, dce: false, regroup: false, signs: false }
    }

    /// Each choice of passes once, from none to all.
    pub fn all_combinations() -> impl Iterator<Item = Passes> {
        (0..64u8).map(|bits| {
            let on = |i: u8| bits >> i & 1 == 1;
            Passes { rewrite: on(0), fold: on(1), cse: on(2), dce: on(3), regroup: on(4), signs: on(5) }
        })
    }
}

/// How often folding and merging take turns at most. Each turn is linear; nearly all graphs are done after two.
const ROUNDS: usize = 4;

/// Runs the passes on a graph that will not be differentiated any more; what a compiled softmax makes of its quotients is not among them. The `roots` are what must keep its value; those
/// that turn out equal to another node become that node.
///
/// Nodes other than the roots and what they are computed from may disappear, also inputs and parameters.
///
/// # Panics
/// In debug builds, if a pass breaks a rule of the intermediate representation: a defect of the engine.
pub fn run(graph: &mut Graph, roots: &mut [NodeId], passes: Passes) {
    check(graph, "the graph given");
    if passes.dce {
        dce::run(graph, roots);
        check(graph, "dce");
    }
    if passes.rewrite {
        rewrite(graph, roots);
        check(graph, "rewrite");
    }
    for round in 0..ROUNDS {
        // Either finds something new only where the other changed something; and folding, where two operands have become one.
        let folded = passes.fold && (round == 0 || fold::may_fold_equals(graph)) && fold::run(graph, roots);
        check(graph, "fold");
        if !folded && round > 0 {
            break;
        }
        if folded && passes.dce {
            // What folding has left without users need not be looked at again.
            dce::run(graph, roots);
            check(graph, "dce");
        }
        let merged = passes.cse && cse::run(graph, roots);
        check(graph, "cse");
        if !merged {
            break;
        }
    }
    if passes.signs {
        run_signs(graph, roots, Products::Joined, passes);
    }
    if passes.regroup {
        regroup::run(graph, roots);
        check(graph, "regroup");
    }
    if passes.dce {
        dce::run(graph, roots);
        check(graph, "dce");
    }
}

/// Rewrites quotients by the sum of a softmax, but for those that one of `exact` depends on: what is compared must come out as it was
/// recorded.
pub(crate) fn run_quotients(graph: &mut Graph, roots: &mut [NodeId], exact: &[NodeId], passes: Passes) {
    if passes.rewrite && rewrite_quotients(graph, roots, exact) {
        check(graph, "quotients");
        if passes.cse {
            cse::run(graph, roots);
            check(graph, "cse");
        }
        if passes.dce {
            dce::run(graph, roots);
            check(graph, "dce");
        }
    }
}

/// Leaves out negations. (What that makes equal is not looked for again.)
pub(crate) fn run_signs(graph: &mut Graph, roots: &mut [NodeId], products: Products, passes: Passes) {
    if signs::may_change(graph) && signs::run(graph, roots, products) {
        check(graph, "signs");
        if passes.dce {
            dce::run(graph, roots);
        }
        check(graph, "dce");
    }
}

/// The verifier after a pass; only in debug builds.
fn check(graph: &Graph, after: &str) {
    if cfg!(debug_assertions)
        && let Err(error) = verify(graph)
    {
        panic!("{after}: {error}");
    }
}

impl Tape {
    /// A copy of what is recorded so far: to be printed, drawn ([`Graph::to_dot`]) or transformed.
    ///
    /// ```
    /// let tape = tapegrad::Tape::new();
    /// let _ = tape.input(2.0).named("x").exp();
    /// assert_eq!(tape.graph().to_string(), "%0 = input \"x\" : []\n%1 = exp %0 : []\n");
    /// ```
    #[must_use]
    #[track_caller]
    pub fn graph(&self) -> Graph {
        self.with(|r| r.graph.clone())
    }
}

/// Where a node that was found equal to another is replaced by it: a table by [`NodeId::index`], up to the last such node.
#[derive(Default)]
struct Aliases(Vec<Option<NodeId>>);

impl Aliases {
    /// From now on, users of `id` use `other`, which stands for itself.
    fn set(&mut self, id: NodeId, other: NodeId) {
        if self.0.len() <= id.index() {
            self.0.resize(id.index() + 1, None);
        }
        self.0[id.index()] = Some(other);
    }

    #[inline]
    fn get(&self, id: NodeId) -> NodeId {
        self.0.get(id.index()).copied().flatten().unwrap_or(id)
    }

    /// Lets a node use what its inputs were found equal to. Returns whether that changes anything.
    fn redirect(&self, graph: &mut Graph, id: NodeId) -> bool {
        let changes = !self.0.is_empty() && graph.inputs(id).iter().any(|&i| self.get(i) != i);
        if changes {
            let inputs: Inputs = graph.inputs(id).iter().map(|&i| self.get(i)).collect();
            graph.set_inputs(id, &inputs);
        }
        changes
    }

    fn redirect_roots(&self, roots: &mut [NodeId]) -> bool {
        let changes = roots.iter().any(|&root| self.get(root) != root);
        roots.iter_mut().for_each(|root| *root = self.get(*root));
        changes
    }
}
