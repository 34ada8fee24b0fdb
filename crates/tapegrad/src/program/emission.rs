//! From the plan to steps: groups become instructions, machine code where that is wanted, or the form that is interpreted.
//!
//! ```text
//!   planned groups ─▶ order of scalars ─▶ instructions ──▶ machine code ─┐
//!                     (order.rs)          (emit.rs)    └─▶ decoded ──────┴─▶ steps
//! ```
//!
//! A tape of millions of operations should not stand in memory in many forms at a time: where no machine code is tried, each is given up as soon as the
//! next is made, the nodes of scalars while they are emitted, and the graph before instructions are decoded.

use super::decode::{Decoded, Decoder};
use super::emit::{Emitter, Places};
use super::lines::Lines;
use super::memory::align;
use super::order::{Alike, Order};
use super::passes;
use super::plan::{Plan, tolerate_defects};
use super::scalars;
use super::schedule::Planned;
use super::step::Step;
use super::tier::Generators;
use crate::error::CompileError;
use crate::ir::Reading;
use std::sync::Arc;
use tapegrad_jit::{Elem, LANES};

/// Shorter groups of scalars are left in their order.
const LONG: usize = 32;

/// Steps, but for what is decoded of them.
pub(super) struct Emitted<T> {
    steps: Vec<Step<T>>,
    /// The fused groups among them, with what the registers of each need.
    registers: Vec<(usize, usize)>,
    /// Where values end and registers begin, with a gap between.
    end: usize,
    base: usize,
    /// What the registers of machine code need.
    code: usize,
}

impl<T: Reading> Emitted<T> {
    /// Decodes what is interpreted; also tells how much scratch memory the steps need.
    pub(super) fn decoded(mut self) -> (Vec<Step<T>>, usize) {
        let mut decoder = Decoder::new();
        let mut scratch = self.code;
        for (step, mut needs) in self.registers {
            let Step::Fused(f) = &mut self.steps[step] else { continue };
            if f.numel == 1 && f.scalars.is_none() {
                f.decoded = decoder.decode(f, self.base, self.base + needs);
                needs += f.decoded.as_ref().map_or(0, |_| Decoded::CONSTANTS.len());
            }
            if f.pass.is_none() {
                scratch = scratch.max(needs);
            }
        }
        (self.steps, self.base - self.end + scratch)
    }
}

impl Plan<'_> {
    /// Emits all steps, elementwise ones as machine code too where that is wanted and possible. Where scalars are `free`, no parameter is
    /// updated among them, and they may change their order.
    pub(super) fn emit<T: Reading>(mut self, generators: Generators, free: bool) -> Result<Emitted<T>, CompileError> {
        let planned = std::mem::take(&mut self.schedule.steps);
        let lines = self.lines::<T>(&planned)?;
        if !planned.iter().any(|planned| matches!(planned, Planned::Group { numel: 2.., .. })) {
            // Where a scalar stands tells whether it is computed in its own group.
            self.schedule.step_of = Vec::new();
        }
        let scalars = |planned: &Planned| match planned {
            Planned::Group { numel: 1, nodes } => nodes.len(),
            _ => 0,
        };
        // As many instructions, or a few less.
        let count: usize = planned.iter().map(scalars).sum();
        let most = scalars::most::<T>(generators);
        if (1..=most).contains(&count) {
            let code = |step: &Step<T>| matches!(step, Step::Fused(f) if f.scalars.as_ref().is_some_and(|s| s.len() > generators.code));
            let wanted = Generators { scalars: most, ..generators };
            if let Some(emitted) = self.emit_with(planned.clone(), &lines, wanted, free.then_some(Alike::Calls))?
                && !emitted.steps.iter().any(code)
            {
                return Ok(emitted);
            }
            // Too much of it, or not worth making. What is interpreted has another order.
        }
        let interpreted = Generators { scalars: 0, ..generators };
        let emitted = self.emit_with(planned, &lines, interpreted, free.then_some(Alike::All))?;
        Ok(emitted.expect("scalars that are interpreted are not asked whether they repeat themselves"))
    }

    /// Where values stand.
    fn places(&self) -> Places<'_> {
        Places {
            graph: self.graph,
            views: self.views,
            step_of: &self.schedule.step_of,
            offset: &self.offset,
            literals: &self.literals,
            index_offset: &self.index_offset,
            compared: &self.compared,
            scratch: align(self.end, usize::MAX),
        }
    }

    /// The code of joined steps, in order.
    fn lines<T: Reading>(&self, planned: &[Planned]) -> Result<Vec<Lines>, CompileError> {
        let places = self.places();
        let regions =
            planned.iter().filter_map(|step| if let Planned::Lines(region) = step { Some(region) } else { None });
        let sources = regions.map(|region| region.source::<T>(&places, self.end, self.index_end));
        let Some(sources) = sources.collect::<Option<Vec<_>>>() else {
            return Err(CompileError::new("defect of the compiler: steps were joined that have no code over lines"));
        };
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        let elem = if T::is_f32() { Elem::F32 } else { Elem::F64 };
        // That code can be made was asked before they were joined.
        let code = tapegrad_jit::compile_lines(elem, &sources).map_err(|error| CompileError::new(error.to_string()))?;
        let (code, compiled) = (Arc::new(code), sources.into_iter().enumerate());
        let lines =
            compiled.map(|(index, source)| Lines { source, code: Arc::clone(&code), index, scratch: places.scratch });
        Ok(lines.collect())
    }

    /// The same, scalars in an order in which what is `alike` stands side by side, machine code or not; nothing if machine code of scalars is
    /// not worth making.
    fn emit_with<T: Reading>(
        &self,
        mut planned: Vec<Planned>,
        lines: &[Lines],
        generators: Generators,
        alike: Option<Alike>,
    ) -> Result<Option<Emitted<T>>, CompileError> {
        if let Some(mut order) = alike.and_then(|alike| Order::new(self.graph, self.views, alike)) {
            for planned in &mut planned {
                match planned {
                    Planned::Group { numel: 1, nodes } if nodes.len() >= LONG => order.together(nodes),
                    _ => {}
                }
            }
        }
        let places = self.places();
        let base = places.scratch;
        let mut lines = lines.iter();
        let mut code = 0;
        let mut emitter = Emitter::new();
        let mut steps = Vec::with_capacity(planned.len());
        let mut registers = Vec::new();
        for (step, planned) in (0..).zip(planned) {
            let (fused, needs) = match planned {
                Planned::Group { numel: 0, .. } => {
                    steps.push(Step::Moves(vec![]));
                    continue;
                }
                Planned::Single(id) => {
                    steps.push(self.single(id));
                    continue;
                }
                Planned::Multiplied(nodes) => {
                    steps.push(self.multiplied(nodes));
                    continue;
                }
                Planned::Lines(_) => {
                    let lines = lines.next().expect("one for each").clone();
                    code = code.max(lines.code.temporary(lines.index) + LANES);
                    steps.push(Step::Lines(lines));
                    continue;
                }
                Planned::Group { numel: 1, nodes } => emitter.scalars(&places, nodes),
                Planned::Group { numel, nodes } => emitter.tensors(&places, step, numel, &nodes),
            };
            registers.push((steps.len(), needs));
            steps.push(Step::Fused(fused));
        }
        if generators.scalars > 0 {
            match tolerate_defects(scalars::compile(&mut steps, base, generators))?.unwrap_or(Some(0)) {
                Some(needs) => code = code.max(needs),
                None => return Ok(None),
            }
        }
        if generators.passes {
            let constants =
                self.literals.iter().map(|(&bits, &place)| (place as usize, f64::from_bits(bits))).collect();
            let needs = passes::compile(&mut steps, &constants, self.end, base);
            code = code.max(tolerate_defects(needs)?.unwrap_or(0) + LANES);
        }
        Ok(Some(Emitted { steps, registers, end: self.end, base, code }))
    }
}
