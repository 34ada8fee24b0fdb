//! Owns the running of a formula over any kind of number.

use super::{Formula, Item};

/// The arithmetic that a formula is run with: on numbers, or on variables being recorded.
pub trait Algebra {
    /// A number of this arithmetic.
    type Value: Copy;

    /// A number that is written in the formula.
    fn number(&mut self, value: f64) -> Self::Value;
    /// $-a$
    fn neg(&mut self, a: Self::Value) -> Self::Value;
    /// $a + b$
    fn add(&mut self, a: Self::Value, b: Self::Value) -> Self::Value;
    /// $a - b$
    fn sub(&mut self, a: Self::Value, b: Self::Value) -> Self::Value;
    /// $a \cdot b$
    fn mul(&mut self, a: Self::Value, b: Self::Value) -> Self::Value;
    /// $a / b$
    fn div(&mut self, a: Self::Value, b: Self::Value) -> Self::Value;
    /// $a^b$
    fn pow(&mut self, a: Self::Value, b: Self::Value) -> Self::Value;
    /// $a^n$ for an integer that is written in the formula.
    fn pow_int(&mut self, a: Self::Value, n: i32) -> Self::Value;
    /// The function with this index in the table that the formula was parsed with, of as many
    /// arguments as the table says.
    fn call(&mut self, function: usize, arguments: &[Self::Value]) -> Self::Value;
}

impl Formula {
    /// The value of the formula, its variables having the given values.
    ///
    /// # Panics
    ///
    /// If there are fewer values than the formula was parsed with variables.
    pub fn eval<A: Algebra>(&self, variables: &[A::Value], algebra: &mut A) -> A::Value {
        let mut stack: Vec<A::Value> = Vec::new();
        let pop = |stack: &mut Vec<A::Value>| stack.pop().expect("the parser puts operands before operators");
        for &item in self.items() {
            let value = match item {
                Item::Number(number) => algebra.number(number),
                Item::Variable(index) => variables[index],
                Item::Neg => {
                    let a = pop(&mut stack);
                    algebra.neg(a)
                }
                Item::PowInt(n) => {
                    let a = pop(&mut stack);
                    algebra.pow_int(a, n)
                }
                Item::Call { function, arity } => {
                    let first = stack.len() - arity;
                    let value = algebra.call(function, &stack[first..]);
                    stack.truncate(first);
                    value
                }
                Item::Add | Item::Sub | Item::Mul | Item::Div | Item::Pow => {
                    let b = pop(&mut stack);
                    let a = pop(&mut stack);
                    match item {
                        Item::Add => algebra.add(a, b),
                        Item::Sub => algebra.sub(a, b),
                        Item::Mul => algebra.mul(a, b),
                        Item::Div => algebra.div(a, b),
                        _ => algebra.pow(a, b),
                    }
                }
            };
            stack.push(value);
        }
        pop(&mut stack)
    }
}

/// Plain numbers, with functions given as a table in the order that the formula was parsed with.
#[derive(Debug)]
pub struct Floats<'a> {
    /// What each function of the table does.
    pub functions: &'a [fn(&[f64]) -> f64],
}

impl Algebra for Floats<'_> {
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
        self.functions[function](arguments)
    }
}

/// $a^n$. A negative power is no quotient of 1: that would be 0 as soon as $a^{-n}$ is beyond the largest number.
pub(crate) fn whole_power(a: f64, n: i32) -> f64 {
    if n < 0 { a.powf(f64::from(n)) } else { a.powi(n) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::formula::{Function, Meaning, parse};
    use proptest::prelude::*;

    const NAMES: &[Function<'static>] = &[
        Function { name: "sin", arity: 1, meaning: Meaning::Call(0) },
        Function { name: "exp", arity: 1, meaning: Meaning::Call(1) },
        Function { name: "max", arity: 2, meaning: Meaning::Call(2) },
        Function { name: "select", arity: 3, meaning: Meaning::Call(3) },
    ];
    const FUNCTIONS: &[fn(&[f64]) -> f64] =
        &[|a| a[0].sin(), |a| a[0].exp(), |a| a[0].max(a[1]), |a| if a[0] != 0.0 { a[1] } else { a[2] }];

    fn value(source: &str, x: f64, y: f64) -> f64 {
        let formula = parse(source, &["x", "y"], NAMES).unwrap_or_else(|error| panic!("{error}"));
        formula.eval(&[x, y], &mut Floats { functions: FUNCTIONS })
    }

    #[test]
    fn formulas_have_the_value_that_rust_gives_them() {
        let (x, y) = (1.3_f64, -0.7_f64);
        assert_eq!(value("sin(x)*y + exp(-x^2)", x, y), x.sin() * y + (-x.powi(2)).exp());
        assert_eq!(value("2^-x", x, y), 2.0_f64.powf(-x));
        assert_eq!(value("x^y^2", x, y), x.powf(y.powi(2)));
        assert_eq!(value("max(x, y) - select(0, x, y)", x, y), x - y);
        assert_eq!(value("-x - -y*2/4", x, y), -x - -y * 2.0 / 4.0);
        assert_eq!(value("(-2)^3", x, y), -8.0);
        assert_eq!(value("e^0 + π - pi", x, y), 1.0);
        assert_eq!(value("1e-3", x, y), 1e-3);
        assert!((value("10^-310", x, y) / 1e-310 - 1.0).abs() < 1e-12, "no quotient by what overflows");
        assert_eq!(value("(-2)^-3", x, y), -0.125);
    }

    /// A random formula with brackets only where a pair of operators needs them, and its value.
    fn formulas() -> impl Strategy<Value = (String, u8, f64)> {
        let leaf = prop_oneof![
            Just(("x".to_owned(), 9, 0.75)),
            Just(("y".to_owned(), 9, 1.5)),
            (0_u8..100).prop_map(|n| (format!("{}", f64::from(n) / 8.0), 9, f64::from(n) / 8.0)),
        ];
        leaf.prop_recursive(8, 64, 2, |inner| {
            let wrap = |(text, binding, value): (String, u8, f64), least: u8| {
                (if binding < least { format!("({text})") } else { text }, value)
            };
            (inner.clone(), inner, 0_u8..6).prop_map(move |(a, b, operator)| {
                // What binds the left operand, the right operand, and the result, in that order.
                let (sign, left, right, result) =
                    [("+", 1, 2, 1), ("-", 1, 2, 1), ("*", 2, 3, 2), ("/", 2, 3, 2), ("^", 5, 3, 4), ("-", 0, 3, 3)]
                        [usize::from(operator)];
                let ((at, av), (bt, bv)) = (wrap(a, left), wrap(b, right));
                match operator {
                    0 => (format!("{at} {sign}{bt}"), result, av + bv),
                    1 => (format!("{at}{sign} {bt}"), result, av - bv),
                    2 => (format!("{at}{sign}{bt}"), result, av * bv),
                    3 => (format!("{at}{sign}{bt}"), result, av / bv),
                    4 => (format!("{at}{sign}{bt}"), result, av.powf(bv)),
                    _ => (format!("{sign}{bt}"), result, -bv),
                }
            })
        })
    }

    proptest! {
        #[test]
        fn the_least_brackets_are_enough((text, _, expected) in formulas()) {
            let formula = parse(&text, &["x", "y"], &[]).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let found = formula.eval(&[0.75, 1.5], &mut Floats { functions: &[] });
            // An integer power is rounded otherwise than the general one.
            let close = (found - expected).abs() <= 1e-6 * expected.abs();
            prop_assert!(close || found == expected || !expected.is_finite() || !found.is_finite(), "{text}: {found}, {expected}");
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[x-z0-9eE.+*/^(), é漢\u{302}$=-]{0,60}|\\PC{0,30}") {
            if let Err(error) = parse(&text, &["x"], NAMES) {
                prop_assert!(text.is_char_boundary(error.range().start) && text.is_char_boundary(error.range().end));
                prop_assert_eq!(error.to_string().lines().count(), 3);
            }
        }
    }
}
