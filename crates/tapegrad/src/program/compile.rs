//! `Tape::compile`, and the program it gives.

use super::extract::Extract;
use super::lanes;
use super::layout::Layout;
use super::options::CompileOptions;
use super::step::{GuardCheck, Move, Step};
use super::tier::Lanes;
use crate::error::CompileError;
use crate::ir::{DType, NodeId, Reading, Tape, Var};
use crate::pass::{self, Passes, Products};
use std::panic::Location;
use std::sync::Arc;

/// Replay hands the operands of a custom kernel over without allocating, so there is a limit to them.
pub(crate) const MOST_CUSTOM_OPERANDS: usize = 8;

/// A compiled program: immutable, `Send + Sync`, cheap to clone. What changes on replay is in a
/// [`State`](crate::State), one for each thread.
///
/// It prints itself as text, and as DOT by [`Program::to_dot`].
#[derive(Debug)]
pub struct Program<T>(pub(crate) Arc<Inner<T>>);

impl<T> Clone for Program<T> {
    fn clone(&self) -> Self {
        Program(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
pub(crate) struct Inner<T> {
    pub(crate) layout: Layout,
    /// Inputs in another order: carried out before the steps when an input has been set.
    pub(crate) prepare: Vec<Move>,
    pub(crate) steps: Vec<Step<T>>,
    /// Checked before step `updates`; no earlier step writes a parameter.
    pub(crate) guards: Vec<GuardCheck>,
    pub(crate) updates: usize,
    /// The steps that read a parameter where its new value is meant, each with the offset of the parameter; sorted.
    pub(crate) renewed: Vec<(usize, usize)>,
    /// The initial contents of the front of the arena: inputs, parameters and constants.
    pub(crate) image: Vec<T>,
    pub(crate) arena: usize,
    /// How many numbers are alive when most are, without gaps and padding.
    pub(crate) live: usize,
    /// Where the registers of fused groups begin.
    pub(crate) scratch: usize,
    pub(crate) index_image: Vec<u32>,
    pub(crate) index_arena: usize,
}

impl<T> Inner<T> {
    /// The machine code of a program of many points, if their columns may stand elsewhere than in a state.
    pub(crate) fn code_with_columns(&self) -> Option<&tapegrad_jit::Code> {
        match self.steps.first() {
            Some(Step::Machine(machine)) if !machine.code.columns().is_empty() => Some(&machine.code),
            _ => None,
        }
    }
}

impl<T> Program<T> {
    /// Number of elements in the arena of a state.
    #[must_use]
    pub fn arena_len(&self) -> usize {
        self.0.arena
    }

    /// Number of elements that are alive at the time when most are: inputs, parameters and constants always, a computed value
    /// from the step that computes it to the last that reads it. No arena can be smaller; [`Program::arena_len`] is more by
    /// gaps, alignment and temporary memory. (Where a whole small program is machine code, an input or output of several columns
    /// counts twice: in the order of its elements, and in columns; so does a parameter whose new value waits for the end.)
    #[must_use]
    pub fn live_len(&self) -> usize {
        self.0.live
    }

    /// Number of steps.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.steps.len()
    }

    /// Whether there is nothing to compute.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.steps.is_empty()
    }

    /// Number of fused instructions, and of those of machine code, over all steps.
    #[must_use]
    pub fn instructions(&self) -> usize {
        let of = |step: &Step<T>| match step {
            Step::Fused(f) => f.prologue.len() + f.body.len(),
            Step::Lines(lines) => lines.len(),
            Step::Machine(m) => m.source.blocks.iter().map(|block| block.code.len()).sum(),
            _ => 0,
        };
        self.0.steps.iter().map(of).sum()
    }
}

impl Tape {
    /// Compiles what is needed for `outputs` and for all assignments made so far, for replay in `T` (`f32` or `f64`).
    ///
    /// # Errors
    /// If an output is not valid, a recorded index is out of range, or the program would be too large.
    ///
    /// ```
    /// use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.input(2.0);
    /// let y = x.sin() * x;
    /// let dy = tape.grad(y, &[x])[0];
    /// let program = tape.compile::<f64>(&[y, dy])?;
    /// let mut state = program.state();
    /// state.set(x, &[3.0])?;
    /// program.replay(&mut state)?;
    /// assert!((state.item(dy) - (3.0 * 3.0_f64.cos() + 3.0_f64.sin())).abs() < 1e-14);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn compile<T: Reading>(&self, outputs: &[Var]) -> Result<Program<T>, CompileError> {
        self.compile_with(outputs, &CompileOptions::default())
    }

    /// [`Tape::compile`] with options.
    ///
    /// # Errors
    /// As [`Tape::compile`].
    #[track_caller]
    pub fn compile_with<T: Reading>(
        &self,
        outputs: &[Var],
        options: &CompileOptions,
    ) -> Result<Program<T>, CompileError> {
        let at = Location::caller();
        let ids = self.ids("compile", outputs, at).map_err(|error| CompileError::new(error.to_string()))?;
        self.compile_ids(&ids, options).map_err(|error| error.at(at))
    }

    /// [`Tape::compile_with`] of nodes of this tape; errors do not name the line that asked for it.
    pub(crate) fn compile_ids<T: Reading>(
        &self,
        ids: &[NodeId],
        options: &CompileOptions,
    ) -> Result<Program<T>, CompileError> {
        let mut extract = self.with(|r| {
            if let Some(&id) = ids.iter().find(|&&id| r.graph.ty(id).dtype == DType::Index) {
                let message = format!("expected outputs of real numbers, found {}", r.graph.describe(id));
                return Err(CompileError::new(message));
            }
            let assigns = if options.assigns { &r.assigns[..] } else { &[] };
            Ok(Extract::new(&r.graph, ids, assigns, &r.guards, &r.gradients))
        })?;
        let generators = options.generators();
        // The interpreter joins a product to a sum, but not to a difference; and template code is made sooner than negations are found.
        let signs = options.passes.signs && generators.lanes != Lanes::Never && tapegrad_jit::supported();
        let passes = Passes { signs, ..options.passes };
        extract.run_passes(passes);
        extract.compact();
        // Code of scalars joins no products to sums.
        let apart = |mut extract: Extract| {
            if signs && lanes::is_scalar(&extract.graph) {
                pass::run_signs(&mut extract.graph, &mut extract.roots, Products::Apart, passes);
            }
            extract
        };
        // The code with registers chosen ahead knows no vectors across a formula.
        if generators.lanes == Lanes::Large
            && extract.may_be_packed::<T>()
            && let Some(program) = apart(extract.clone()).lower_packed_scalars(self.key(), ids, generators)?
        {
            return Ok(program);
        }
        if generators.lanes != Lanes::Never
            && let Some(program) = extract.lower_to_lanes(self.key(), ids, generators.lanes)?
        {
            return Ok(program);
        }
        apart(extract).lower(self.key(), ids, generators)
    }
}
