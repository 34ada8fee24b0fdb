//! Operators between handles and numbers, and the vocabulary's methods, by recording.

use super::record::{record_with_number, try_record_elementwise_at};
use super::{ADD, DIV, EQUAL, LESS, LESS_EQUAL, MUL, NEG, SELECT, SUB, record_elementwise, try_record_elementwise};
use crate::error::{OrRaise, RecordError};
use crate::ir::Var;
use crate::num::Num;
use std::ops;
use std::panic::Location;

macro_rules! operators {
    ($($Trait:ident $method:ident $Assign:ident $assign:ident $try:ident $DEF:ident $sign:literal),+ $(,)?) => {$(
        impl ops::$Trait for Var {
            type Output = Var;
            #[track_caller]
            fn $method(self, other: Var) -> Var {
                record_elementwise(&$DEF, &[self, other])
            }
        }
        impl ops::$Trait<f64> for Var {
            type Output = Var;
            #[track_caller]
            fn $method(self, other: f64) -> Var {
                record_with_number(&$DEF, self, other, false)
            }
        }
        impl ops::$Trait<Var> for f64 {
            type Output = Var;
            #[track_caller]
            fn $method(self, other: Var) -> Var {
                record_with_number(&$DEF, other, self, true)
            }
        }
        impl ops::$Assign for Var {
            /// The handle becomes that of the result; the value it meant before stays on the tape.
            #[track_caller]
            fn $assign(&mut self, other: Var) {
                *self = record_elementwise(&$DEF, &[*self, other]);
            }
        }
        impl ops::$Assign<f64> for Var {
            /// The handle becomes that of the result; the value it meant before stays on the tape.
            #[track_caller]
            fn $assign(&mut self, other: f64) {
                *self = record_with_number(&$DEF, *self, other, false);
            }
        }
        impl Var {
            #[doc = concat!("`self ", $sign, " other`, returning the error.\n\n# Errors\nIf the shapes do not broadcast ",
                "or a handle is not valid.")]
            #[track_caller]
            pub fn $try(self, other: Var) -> Result<Var, RecordError> {
                try_record_elementwise(&$DEF, &[self, other])
            }
        }
    )+};
}
operators! {
    Add add AddAssign add_assign try_add ADD "+",
    Sub sub SubAssign sub_assign try_sub SUB "-",
    Mul mul MulAssign mul_assign try_mul MUL "*",
    Div div DivAssign div_assign try_div DIV "/",
}

impl ops::Neg for Var {
    type Output = Var;
    #[track_caller]
    fn neg(self) -> Var {
        record_elementwise(&NEG, &[self])
    }
}

impl std::iter::Sum for Var {
    /// Adds up at least one value. The standard library does not say which line asked for the sum, so each addition is
    /// put down to the line that recorded its term.
    ///
    /// # Panics
    /// If there is no value: an empty sum has no tape to be recorded on.
    fn sum<I: Iterator<Item = Var>>(values: I) -> Var {
        let add = |sum: Var, term: Var| {
            let line = |v: Var| v.with("add", Location::caller(), |r| r.graph.node(v.id()).location);
            let line = line(term).or_else(|_| line(sum)).or_raise();
            try_record_elementwise_at(&ADD, &[sum, term], line).or_raise()
        };
        values.reduce(add).expect("a sum of recorded values needs at least one value")
    }
}

impl Num for Var {
    #[track_caller]
    fn lit(self, c: f64) -> Self {
        self.scalar(c)
    }
    #[track_caller]
    fn is_less(self, other: Self) -> Self {
        record_elementwise(&LESS, &[self, other])
    }
    #[track_caller]
    fn is_less_equal(self, other: Self) -> Self {
        record_elementwise(&LESS_EQUAL, &[self, other])
    }
    #[track_caller]
    fn is_equal(self, other: Self) -> Self {
        record_elementwise(&EQUAL, &[self, other])
    }
    #[track_caller]
    fn pick(self, yes: Self, no: Self) -> Self {
        record_elementwise(&SELECT, &[self, yes, no])
    }
    #[track_caller]
    fn powi(self, n: i32) -> Self {
        Var::powi(self, n)
    }
}
