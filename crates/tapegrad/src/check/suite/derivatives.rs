//! Derivatives by independent ways.

use super::Backend;
use super::build::{Case, build};
use super::oracle::set_all;
use super::recipe::for_all;
use crate::check::derivative;
use crate::{Passes, Program, State, Tensor, Var};
use proptest::test_runner::TestCaseError;
use std::cell::Cell;

const CASES: u32 = 400;

pub(super) fn fail(case: &Case, what: &str) -> TestCaseError {
    TestCaseError::fail(format!("{what}\n{}", case.tape.graph()))
}

/// A number computed by a program.
pub(super) struct Replayed<'a, B> {
    case: &'a Case,
    program: Program<f64>,
    pub(super) state: State<f64>,
    backend: std::marker::PhantomData<B>,
}

impl<'a, B: Backend> Replayed<'a, B> {
    pub(super) fn new(case: &'a Case, outputs: &[Var]) -> Result<Self, TestCaseError> {
        Self::with_passes(case, outputs, Passes::default())
    }

    pub(super) fn with_passes(case: &'a Case, outputs: &[Var], passes: Passes) -> Result<Self, TestCaseError> {
        let program = case.tape.compile_with::<f64>(outputs, &B::options().passes(passes));
        let program = program.map_err(|error| fail(case, &error.to_string()))?;
        Ok(Replayed { case, state: program.state(), program, backend: std::marker::PhantomData })
    }

    pub(super) fn replay(&mut self) {
        B::replay(&self.program, &mut self.state).expect("random programs have no guards");
    }

    /// The derivative of an output as all leaves move along a direction, if differences of values can tell it: not where
    /// estimates from two step sizes differ, because of a kink nearby. Also how large a difference is allowed.
    pub(super) fn along(&mut self, of: Var, direction: &[Tensor]) -> Option<(f64, f64)> {
        let start: Vec<Tensor> = self.case.leaves.iter().map(|v| v.value().into()).collect();
        let mut at = |t: f64| {
            let moved =
                start.iter().zip(direction).map(|(x, v)| Tensor::from_fn(x.shape(), |i| x.data()[i] + t * v.data()[i]));
            set_all(&mut self.state, &self.case.leaves, &moved.collect::<Vec<_>>());
            self.replay();
            self.state.item(of)
        };
        let (wide, narrow) = (derivative(&mut at, 0.0, 1e-2), derivative(&mut at, 0.0, 2e-3));
        let scale = wide.value.abs().max(narrow.value.abs()).max(1.0);
        let settled = wide.error <= 1e-6 * scale
            && narrow.error <= 1e-5 * scale
            && (wide.value - narrow.value).abs() <= 1e-5 * scale;
        let best = if wide.error <= narrow.error { wide } else { narrow };
        settled.then_some((best.value, scale))
    }
}

pub(super) fn dot(a: &[Tensor], b: &[Vec<f64>]) -> f64 {
    a.iter().flat_map(Tensor::data).zip(b.iter().flatten()).map(|(x, y)| x * y).sum()
}

pub(super) fn magnitude(a: &[Tensor], b: &[Vec<f64>]) -> f64 {
    a.iter().flat_map(Tensor::data).zip(b.iter().flatten()).map(|(x, y)| (x * y).abs()).sum()
}

pub(super) fn constants(case: &Case, values: &[Tensor]) -> Vec<Var> {
    values.iter().map(|t| case.tape.constant(t)).collect()
}

pub(super) fn get_all(state: &State<f64>, vars: &[Var]) -> Vec<Vec<f64>> {
    vars.iter().map(|&v| state.get(v).to_vec()).collect()
}

/// How often differences could tell the derivative. Most programs are smooth at most points: a suite that skips more is
/// not checking anything.
#[derive(Default)]
struct Tally {
    tried: Cell<u32>,
    told: Cell<u32>,
}

impl Tally {
    fn count<T>(&self, found: Option<T>) -> Option<T> {
        self.tried.update(|n| n + 1);
        self.told.update(|n| n + u32::from(found.is_some()));
        found
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let (tried, told) = (self.tried.get(), self.told.get());
        assert!(std::thread::panicking() || 2 * told >= tried, "only {told} of {tried} programs could be checked");
    }
}

/// For random cotangents $u$ and tangents $v$, $\langle u, Jv\rangle = \langle J^Tu, v\rangle$.
///
/// # Panics
/// If it is not.
pub fn reverse_mode_equals_forward_mode<B: Backend>() {
    for_all(CASES, |recipe| {
        let mut case = build(recipe);
        let y = *case.values.last().expect("a recipe has leaves");
        let u = Tensor::from_fn(y.shape(), |_| case.random.number());
        let v = case.like_leaves();
        let ct = case.tape.constant(&u);
        let pulled = case.tape.vjp(y, ct, &case.leaves);
        let tangents = constants(&case, &v);
        let pushed = case.tape.jvp(&[y], &case.leaves, &tangents)[0];
        let mut outputs = pulled.clone();
        outputs.push(pushed);
        let mut r = Replayed::<B>::new(&case, &outputs)?;
        r.replay();
        let (pulled, pushed) = (get_all(&r.state, &pulled), [r.state.get(pushed).to_vec()]);
        let (reverse, forward) = (dot(&v, &pulled), dot(std::slice::from_ref(&u), &pushed));
        let scale = magnitude(&v, &pulled) + magnitude(&[u], &pushed) + 1.0;
        if (reverse - forward).abs() <= 1e-9 * scale {
            return Ok(());
        }
        Err(fail(&case, &format!("reverse {reverse:e}, forward {forward:e}\n{}", r.program)))
    });
}

/// The gradient along a random direction is what differences of values say.
///
/// # Panics
/// If it is not.
pub fn reverse_mode_equals_differences<B: Backend>() {
    let tally = Tally::default();
    for_all(CASES, |recipe| {
        let mut case = build(recipe);
        if case.stops_gradients {
            return Ok(());
        }
        let direction = case.like_leaves();
        // Compiled before differentiating, so that the values come from the forms as they were written.
        let mut values = Replayed::<B>::new(&case, &[case.loss])?;
        let Some((expected, scale)) = tally.count(values.along(case.loss, &direction)) else { return Ok(()) };
        let gradient = case.tape.grad(case.loss, &case.leaves);
        let mut r = Replayed::<B>::new(&case, &gradient)?;
        r.replay();
        let got = get_all(&r.state, &gradient);
        let (got, scale) = (dot(&direction, &got), scale + magnitude(&direction, &got));
        if (got - expected).abs() <= 1e-6 * scale {
            return Ok(());
        }
        Err(fail(&case, &format!("gradient along v {got:e}, by differences {expected:e}\n{}", r.program)))
    });
}

/// Hessian-vector products are what differences of gradients say, and the Hessian is symmetric.
///
/// # Panics
/// If not.
pub fn second_derivatives_are_right<B: Backend>() {
    let tally = Tally::default();
    for_all(CASES / 2, |recipe| {
        let mut case = build(recipe);
        if case.stops_gradients {
            return Ok(());
        }
        let (v, w) = (case.like_leaves(), case.like_leaves());
        let (along_v, along_w) = (constants(&case, &v), constants(&case, &w));
        let gradient = case.tape.grad(case.loss, &case.leaves);
        let product = |a: &[Var], b: &[Var]| a.iter().zip(b).map(|(&a, &b)| (a * b).sum()).sum::<Var>();
        let slope = product(&gradient, &along_w);
        let by_v = case.tape.hvp(case.loss, &case.leaves, &along_v);
        let by_w = case.tape.hvp(case.loss, &case.leaves, &along_w);
        let outputs: Vec<Var> = by_v.iter().chain(&by_w).copied().collect();
        let mut r = Replayed::<B>::new(&case, &outputs)?;
        r.replay();
        let (by_v, by_w) = (get_all(&r.state, &by_v), get_all(&r.state, &by_w));
        let (w_h_v, v_h_w) = (dot(&w, &by_v), dot(&v, &by_w));
        let scale = magnitude(&w, &by_v) + magnitude(&v, &by_w) + 1.0;
        if (w_h_v - v_h_w).abs() > 1e-8 * scale {
            return Err(fail(&case, &format!("wHv = {w_h_v:e}, but vHw = {v_h_w:e}\n{}", r.program)));
        }
        let mut slopes = Replayed::<B>::new(&case, &[slope])?;
        let Some((expected, more)) = tally.count(slopes.along(slope, &v)) else { return Ok(()) };
        if (w_h_v - expected).abs() <= 1e-6 * (scale + more) {
            return Ok(());
        }
        Err(fail(&case, &format!("wHv = {w_h_v:e}, by differences of gradients {expected:e}\n{}", r.program)))
    });
}
