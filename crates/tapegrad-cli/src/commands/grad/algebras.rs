//! Owns the two arithmetics a formula is run with here: recording on a tape, and plain numbers.

use crate::formula::{Algebra, whole_power};
use tapegrad::ir::OpDef;
use tapegrad::ops::record_elementwise;
use tapegrad::{Tape, Var};

/// Records the formula on a tape.
#[derive(Debug)]
pub(super) struct Recorder<'a> {
    pub(super) tape: &'a Tape,
    pub(super) ops: &'a [&'static OpDef],
}

impl Algebra for Recorder<'_> {
    type Value = Var;

    fn number(&mut self, value: f64) -> Var {
        self.tape.constant(value)
    }

    fn neg(&mut self, a: Var) -> Var {
        -a
    }

    fn add(&mut self, a: Var, b: Var) -> Var {
        a + b
    }

    fn sub(&mut self, a: Var, b: Var) -> Var {
        a - b
    }

    fn mul(&mut self, a: Var, b: Var) -> Var {
        a * b
    }

    fn div(&mut self, a: Var, b: Var) -> Var {
        a / b
    }

    fn pow(&mut self, a: Var, b: Var) -> Var {
        a.powf(b)
    }

    fn pow_int(&mut self, a: Var, n: i32) -> Var {
        // As `whole_power`.
        if n < 0 { a.powf(self.tape.constant(f64::from(n))) } else { a.powi(n) }
    }

    fn call(&mut self, function: usize, arguments: &[Var]) -> Var {
        record_elementwise(self.ops[function], arguments)
    }
}

/// Computes the formula at once, without a tape: what the derivatives are checked against.
#[derive(Debug)]
pub(super) struct Plain<'a> {
    pub(super) ops: &'a [&'static OpDef],
}

impl Algebra for Plain<'_> {
    type Value = f64;

    fn number(&mut self, value: f64) -> f64 {
        value
    }

    fn neg(&mut self, a: f64) -> f64 {
        -a
    }

    fn add(&mut self, a: f64, b: f64) -> f64 {
        a + b
    }

    fn sub(&mut self, a: f64, b: f64) -> f64 {
        a - b
    }

    fn mul(&mut self, a: f64, b: f64) -> f64 {
        a * b
    }

    fn div(&mut self, a: f64, b: f64) -> f64 {
        a / b
    }

    fn pow(&mut self, a: f64, b: f64) -> f64 {
        a.powf(b)
    }

    fn pow_int(&mut self, a: f64, n: i32) -> f64 {
        whole_power(a, n)
    }

    fn call(&mut self, function: usize, arguments: &[f64]) -> f64 {
        let op = self.ops[function].elementwise().expect("the table holds elementwise operations");
        let argument = |index: usize| arguments.get(index).copied().unwrap_or(0.0);
        (op.scalar_f64)(argument(0), argument(1), argument(2))
    }
}
