//! Closures as problems for the solvers of `argmin`.

mod point;

pub use point::Point;

use super::Traced;
use crate::error::CompileError;
use crate::ir::Var;
use argmin::core::{CostFunction, Error, Gradient, Hessian};
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A closure of recorded values as what `argmin` minimises: [`CostFunction`], [`Gradient`] and [`Hessian`] in one.
///
/// The closure is a [`Traced`] one, so it may branch. Cost and gradient come out of one replay: a solver that asks for both at
/// one point pays once. The parameters are vectors of the standard library, `Objective::new`, or whatever [`Point`] is
/// implemented for.
///
/// ```
/// use argmin::core::{CostFunction, Gradient};
/// use tapegrad::Objective;
/// let bowl = Objective::<_>::new(|x| x[0].square() + 10.0 * x[1].square());
/// assert_eq!(bowl.cost(&vec![3.0, 1.0])?, 19.0);
/// assert_eq!(bowl.gradient(&vec![3.0, 1.0])?, [6.0, 20.0]);
/// assert_eq!(bowl.evaluations(), 1);
/// # Ok::<(), argmin::core::Error>(())
/// ```
pub struct Objective<F, P = Vec<f64>> {
    inner: Mutex<Inner<F>>,
    of: PhantomData<fn() -> P>,
}

struct Inner<F> {
    traced: Traced<F>,
    /// The point evaluated last, its value and its gradient.
    at: Vec<f64>,
    value: Option<f64>,
    gradient: Vec<f64>,
}

impl<F: Fn(&[Var]) -> Var, P: Point> Objective<F, P> {
    /// The problem of minimising `f`, which is given one scalar for each parameter.
    #[must_use]
    pub fn new(f: F) -> Self {
        Objective::from_traced(Traced::new(f))
    }

    /// The problem of minimising a function with options or a capacity of its own.
    #[must_use]
    pub fn from_traced(traced: Traced<F>) -> Self {
        let inner = Inner { traced, at: Vec::new(), value: None, gradient: Vec::new() };
        Objective { inner: Mutex::new(inner), of: PhantomData }
    }

    /// How often the function was evaluated: by replay or by recording, with its gradient or its Hessian.
    #[must_use]
    pub fn evaluations(&self) -> u64 {
        let traced = &self.lock().traced;
        traced.hits() + traced.misses()
    }
}

impl<F, P> Objective<F, P> {
    fn lock(&self) -> MutexGuard<'_, Inner<F>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Fn(&[Var]) -> Var> Inner<F> {
    /// Evaluates at a point, unless it is the one evaluated last.
    fn evaluate(&mut self, x: &[f64]) -> Result<f64, CompileError> {
        let same = self.at.len() == x.len() && self.at.iter().zip(x).all(|(a, b)| a.to_bits() == b.to_bits());
        if let Some(value) = self.value.filter(|_| same) {
            return Ok(value);
        }
        // Should the closure panic, nothing is known.
        self.value = None;
        let found = self.traced.call(x)?;
        self.gradient.clear();
        self.gradient.extend_from_slice(found.gradient);
        self.value = Some(found.value);
        self.at.clear();
        self.at.extend_from_slice(x);
        Ok(found.value)
    }
}

impl<F: Fn(&[Var]) -> Var, P: Point> CostFunction for Objective<F, P> {
    type Param = P;
    type Output = f64;

    fn cost(&self, x: &P) -> Result<f64, Error> {
        Ok(self.lock().evaluate(&x.numbers())?)
    }
}

impl<F: Fn(&[Var]) -> Var, P: Point> Gradient for Objective<F, P> {
    type Param = P;
    type Gradient = P;

    fn gradient(&self, x: &P) -> Result<P, Error> {
        let mut inner = self.lock();
        inner.evaluate(&x.numbers())?;
        Ok(P::from_numbers(&inner.gradient))
    }
}

impl<F: Fn(&[Var]) -> Var, P: Point> Hessian for Objective<F, P> {
    type Param = P;
    type Hessian = P::Matrix;

    fn hessian(&self, x: &P) -> Result<P::Matrix, Error> {
        let x = x.numbers();
        Ok(P::matrix(self.lock().traced.hessian(&x)?, x.len()))
    }
}

impl<F, P> fmt::Debug for Objective<F, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Objective").field(&self.lock().traced).finish()
    }
}
