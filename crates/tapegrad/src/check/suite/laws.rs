//! Every law at once, of larger programs: what a program computes is the same by every tier and every choice of passes, and its
//! derivatives are the same by reverse mode, by forward mode and by differences.

use super::build::{Case, build};
use super::derivatives::{Replayed, constants, dot, fail, get_all, magnitude};
use super::oracle::{Oracle, Reference};
use super::recipe::{Recipe, Size, for_all_from};
use super::{Backend, Interpreter, MachineCode};
use crate::{Passes, Tensor, Var};
use proptest::test_runner::TestCaseError;
use std::cell::Cell;

/// So many random programs, unless `TAPEGRAD_CASES` says otherwise, are shared by the parts of the test.
const CASES: u32 = 2000;
/// Two sums of the same products in another order, relative to the sum of their sizes.
const ADJOINT: f64 = 1e-12;

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Random programs.
    pub programs: u64,
    /// Their nodes, before anything was differentiated.
    pub nodes: u64,
    /// The most nodes one of them had.
    pub most: u64,
    /// Programs whose inputs are all scalars.
    pub scalar: u64,
    /// Numbers compared with those of the naive evaluator.
    pub numbers: u64,
    /// Programs whose derivative differences could tell.
    pub told: u64,
    /// Programs for which they were tried.
    pub tried: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.programs += other.programs;
        self.nodes += other.nodes;
        self.most = self.most.max(other.most);
        self.scalar += other.scalar;
        self.numbers += other.numbers;
        self.told += other.told;
        self.tried += other.tried;
    }
}

/// Random programs of up to 400 nodes, with sharing, on scalars and tensors: part `part` of `parts`, each with programs of its own.
///
/// - The naive evaluator, the interpreter and machine code agree, with all passes and with a choice that changes from program to program,
///   on values, gradients and tangents: to the last bit where every operation is rounded by itself.
/// - The derivative of the loss along a random direction is the same by reverse mode and by forward mode, and by differences of values
///   extrapolated to step 0.
/// - For random cotangents $u$ and tangents $v$, $\langle u, Jv\rangle = \langle J^Tu, v\rangle$ to 1e-12 of the sum of the sizes of the
///   products.
///
/// # Panics
/// If one of the laws does not hold, with the shortest program that was found.
pub fn every_law_holds(part: u32, parts: u32) -> Tally {
    let tally = Cell::new(Tally::default());
    for_all_from(part, CASES, parts, Size::Large, |recipe| {
        let mut total = tally.get();
        total += laws(recipe)?;
        tally.set(total);
        Ok(())
    });
    let tally = tally.get();
    assert!(2 * tally.told >= tally.tried, "differences could tell too little: {tally:?}");
    tally
}

fn laws(recipe: &Recipe) -> Result<Tally, TestCaseError> {
    let mut case = build(recipe);
    let nodes = case.tape.len() as u64;
    let scalar = u64::from(case.leaves.iter().all(|v| v.rank() == 0));
    let mut tally = Tally { programs: 1, nodes, most: nodes, scalar, ..Tally::default() };
    let direction = case.like_leaves();
    // Before anything is differentiated, and so rewritten.
    let mut expected = None;
    if !case.stops_gradients {
        expected = Replayed::<Interpreter>::new(&case, &[case.loss])?.along(case.loss, &direction);
        tally.tried = 1;
        tally.told = u64::from(expected.is_some());
    }
    let values = case.outputs();
    let value_references = Oracle::new(&case).references(&case, &values);

    let derivatives = Derivatives::record(&mut case, &direction);
    let outputs = derivatives.all();
    let references = Oracle::new(&case).references(&case, &outputs);
    // The choice of passes goes through all of them.
    let choice = Passes::all_combinations().nth((recipe.seed % 64) as usize).expect("there are sixty-four");
    for passes in [Passes::default(), choice] {
        tally.numbers += tier::<Interpreter>(&case, passes, (&values, &value_references), (&outputs, &references))?;
        tally.numbers += tier::<MachineCode>(&case, passes, (&values, &value_references), (&outputs, &references))?;
    }
    derivatives.agree(&case, &direction, expected)?;
    Ok(tally)
}

/// Compares what a tier computes with what the naive evaluator does; gives the number of comparisons.
fn tier<B: Backend>(
    case: &Case,
    passes: Passes,
    values: (&[Var], &[Reference]),
    derivatives: (&[Var], &[Reference]),
) -> Result<u64, TestCaseError> {
    let outputs: Vec<Var> = values.0.iter().chain(derivatives.0).copied().collect();
    let mut replayed = Replayed::<B>::with_passes(case, &outputs, passes)?;
    replayed.replay();
    let mut numbers = 0;
    for (n, (v, reference)) in outputs.iter().zip(values.1.iter().chain(derivatives.1)).enumerate() {
        let got = replayed.state.get(*v);
        // Values may have been rewritten when they were differentiated.
        let exact = B::EXACT && reference.exact && !passes.rewrite && !passes.regroup && n >= values.0.len();
        let verdict = if exact { reference.equals(got) } else { reference.accepts(got, f64::EPSILON) };
        verdict.map_err(|what| {
            fail(case, &format!("output {n} ({v:?}), {passes:?}, {}: {what}", std::any::type_name::<B>()))
        })?;
        numbers += got.len() as u64;
    }
    Ok(numbers)
}

/// The derivatives of a program, by both modes.
struct Derivatives {
    /// Of the loss, by each leaf.
    gradient: Vec<Var>,
    /// Of the loss, along a direction.
    slope: Var,
    u: Tensor,
    /// What the cotangent `u` of the last value pulls back to each leaf.
    pulled: Vec<Var>,
    /// Where the direction pushes the last value.
    pushed: Var,
}

impl Derivatives {
    fn record(case: &mut Case, direction: &[Tensor]) -> Self {
        let y = *case.values.last().expect("a recipe has leaves");
        let u = Tensor::from_fn(y.shape(), |_| case.random.number());
        let ct = case.tape.constant(&u);
        let gradient = case.tape.grad(case.loss, &case.leaves);
        let pulled = case.tape.vjp(y, ct, &case.leaves);
        let tangents = constants(case, direction);
        let slope = case.tape.jvp(&[case.loss], &case.leaves, &tangents)[0];
        let pushed = case.tape.jvp(&[y], &case.leaves, &tangents)[0];
        Derivatives { gradient, slope, u, pulled, pushed }
    }

    fn all(&self) -> Vec<Var> {
        self.gradient.iter().chain(&self.pulled).copied().chain([self.slope, self.pushed]).collect()
    }

    fn agree(&self, case: &Case, direction: &[Tensor], expected: Option<(f64, f64)>) -> Result<(), TestCaseError> {
        let mut replayed = Replayed::<Interpreter>::new(case, &self.all())?;
        replayed.replay();
        let gradient = get_all(&replayed.state, &self.gradient);
        let (reverse, forward) = (dot(direction, &gradient), replayed.state.item(self.slope));
        let scale = magnitude(direction, &gradient) + 1.0;
        if (reverse - forward).abs() > ADJOINT * scale {
            return Err(fail(case, &format!("the loss along v: reverse {reverse:e}, forward {forward:e}")));
        }
        if let Some((expected, more)) = expected
            && (reverse - expected).abs() > 1e-6 * (scale + more)
        {
            return Err(fail(case, &format!("the loss along v: {reverse:e}, by differences {expected:e}")));
        }
        let pulled = get_all(&replayed.state, &self.pulled);
        let pushed = [replayed.state.get(self.pushed).to_vec()];
        let u = std::slice::from_ref(&self.u);
        let (reverse, forward) = (dot(direction, &pulled), dot(u, &pushed));
        let scale = magnitude(direction, &pulled) + magnitude(u, &pushed) + 1.0;
        if (reverse - forward).abs() <= ADJOINT * scale {
            return Ok(());
        }
        Err(fail(case, &format!("⟨Jᵀu, v⟩ = {reverse:e}, but ⟨u, Jv⟩ = {forward:e}, of terms {scale:e}")))
    }
}
