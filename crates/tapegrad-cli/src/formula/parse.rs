//! Owns the grammar: precedence climbing with the pending operators on an explicit stack.
//!
//! The tokens alternate between places where an operand must stand and places where an operator
//! may. An operator waits on the stack until one comes that binds less tightly; then it goes to
//! the output, after its operands, which is postfix order.

use super::error::FormulaError;
use super::token::{Token, Tokens};
use super::{Formula, Function, Item, MAX_DEPTH, Meaning, constant};
use crate::text::{nearest, shown};
use std::collections::HashMap;
use std::ops::Range;

/// Parses a formula over the given variables and functions.
///
/// # Errors
///
/// If the text is no formula; the error says what was expected, what was found, and where.
pub fn parse(source: &str, variables: &[&str], functions: &[Function<'_>]) -> Result<Formula, FormulaError> {
    parse_from(source, 0, variables, functions, true)
}

/// Parses what stands in `source` from byte `start` on; errors point into the whole of it, and say
/// that a name can be given a value if it can.
pub(super) fn parse_from(
    source: &str,
    start: usize,
    variables: &[&str],
    functions: &[Function<'_>],
    can_bind: bool,
) -> Result<Formula, FormulaError> {
    let mut parser = Parser {
        source,
        can_bind,
        names: variables,
        variables: variables.iter().copied().zip(0..).collect(),
        functions,
        pending: Vec::new(),
        items: Vec::new(),
    };
    let mut tokens = Tokens::new(source, start);
    let mut place = Place::Operand;
    loop {
        let (token, range) = tokens.next()?;
        place = match place {
            Place::Operand => parser.operand(token, range, &mut tokens)?,
            Place::Operator if token == Token::End => return parser.finish(range),
            Place::Operator => parser.operator(token, range)?,
        };
        if parser.pending.len() > MAX_DEPTH {
            let (_, range) = parser.pending.pop().expect("more than the limit are pending");
            return Err(parser.error(range, format!("nested deeper than {MAX_DEPTH} levels")));
        }
    }
}

/// What may stand next.
#[derive(Debug, Clone, Copy)]
enum Place {
    Operand,
    Operator,
}

/// What waits for its right-hand end.
#[derive(Debug)]
enum Pending {
    Operator(Operator),
    Group,
    Call { function: usize, arguments: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Neg,
    Add,
    Sub,
    Mul,
    Div,
    Pow,
}

impl Operator {
    fn binding(self) -> u8 {
        match self {
            Operator::Add | Operator::Sub => 1,
            Operator::Mul | Operator::Div => 2,
            Operator::Neg => 3,
            Operator::Pow => 4,
        }
    }
}

#[derive(Debug)]
struct Parser<'a> {
    source: &'a str,
    can_bind: bool,
    names: &'a [&'a str],
    variables: HashMap<&'a str, usize>,
    functions: &'a [Function<'a>],
    pending: Vec<(Pending, Range<usize>)>,
    items: Vec<Item>,
}

impl Parser<'_> {
    fn error(&self, range: Range<usize>, problem: impl Into<String>) -> FormulaError {
        FormulaError::new(self.source, range, problem)
    }

    fn operand(
        &mut self,
        token: Token<'_>,
        range: Range<usize>,
        tokens: &mut Tokens<'_>,
    ) -> Result<Place, FormulaError> {
        match token {
            Token::Number(number) => self.items.push(Item::Number(number)),
            Token::Name(name) => {
                let mut ahead = tokens.clone();
                if !matches!(ahead.next(), Ok((Token::Open, _))) {
                    let item = self.named_value(name, &range)?;
                    self.items.push(item);
                    return Ok(Place::Operator);
                }
                let function = self.named_function(name, &range)?;
                *tokens = ahead.clone();
                if let Ok((Token::Close, _)) = ahead.next() {
                    let problem = self.arity_problem(function, 0);
                    return Err(self.error(range, problem));
                }
                self.pending.push((Pending::Call { function, arguments: 0 }, range));
                return Ok(Place::Operand);
            }
            Token::Open => {
                self.pending.push((Pending::Group, range));
                return Ok(Place::Operand);
            }
            Token::Minus => {
                self.pending.push((Pending::Operator(Operator::Neg), range));
                return Ok(Place::Operand);
            }
            Token::Plus => return Ok(Place::Operand),
            Token::End if self.items.is_empty() && self.pending.is_empty() => {
                return Err(self.error(range, "expected a formula, found nothing"));
            }
            _ => {
                let power = token == Token::Star && self.source[..range.start].ends_with('*');
                let hint = if power { " (a power is written `^`)" } else { "" };
                let found = self.found(token, &range);
                return Err(self.error(range, format!("expected a number, a name or `(`, found {found}{hint}")));
            }
        }
        Ok(Place::Operator)
    }

    fn operator(&mut self, token: Token<'_>, range: Range<usize>) -> Result<Place, FormulaError> {
        let operator = match token {
            Token::Plus => Operator::Add,
            Token::Minus => Operator::Sub,
            Token::Star => Operator::Mul,
            Token::Slash => Operator::Div,
            Token::Caret => Operator::Pow,
            Token::Close => return self.close(range),
            Token::Comma => return self.comma(range),
            Token::Number(_) | Token::Name(_) | Token::Open | Token::End => {
                let found = self.found(token, &range);
                let hint = " (a product is written with `*`)";
                return Err(self.error(range, format!("expected an operator, found {found}{hint}")));
            }
        };
        // The power groups to the right: one that waits stays, as its exponent goes on.
        if operator != Operator::Pow {
            self.emit_down_to(operator.binding());
        }
        self.pending.push((Pending::Operator(operator), range));
        Ok(Place::Operand)
    }

    fn close(&mut self, range: Range<usize>) -> Result<Place, FormulaError> {
        self.emit_down_to(0);
        match self.pending.pop() {
            Some((Pending::Group, _)) => Ok(Place::Operator),
            Some((Pending::Call { function, arguments }, name)) => {
                let Function { arity, meaning, .. } = self.functions[function];
                if arguments + 1 != arity {
                    let problem = self.arity_problem(function, arguments + 1);
                    return Err(self.error(name, problem));
                }
                match meaning {
                    Meaning::Call(function) => self.items.push(Item::Call { function, arity }),
                    Meaning::Power | Meaning::WholePower => self.emit(Operator::Pow),
                }
                if meaning == Meaning::WholePower && !matches!(self.items.last(), Some(Item::PowInt(_))) {
                    let called = shown(self.functions[function].name);
                    let problem = format!("the exponent of {called} is a whole number, any other is written with `^`");
                    return Err(self.error(name, problem));
                }
                Ok(Place::Operator)
            }
            Some((Pending::Operator(_), _)) | None => Err(self.error(range, "this `)` closes nothing")),
        }
    }

    fn comma(&mut self, range: Range<usize>) -> Result<Place, FormulaError> {
        self.emit_down_to(0);
        match self.pending.last_mut() {
            Some((Pending::Call { arguments, .. }, _)) => {
                *arguments += 1;
                Ok(Place::Operand)
            }
            _ => Err(self.error(range, "`,` stands between the arguments of a function, here is none")),
        }
    }

    fn finish(mut self, end: Range<usize>) -> Result<Formula, FormulaError> {
        self.emit_down_to(0);
        match self.pending.pop() {
            None => Ok(Formula { items: self.items }),
            Some((Pending::Call { function, .. }, _)) => {
                let name = self.functions[function].name;
                Err(self.error(end, format!("expected `)` to close {}, found the end", shown(&format!("{name}(")))))
            }
            Some((_, open)) => Err(self.error(open, "this `(` is not closed")),
        }
    }

    /// Moves the operators that bind at least this tightly to the output, up to the open bracket.
    fn emit_down_to(&mut self, binding: u8) {
        while let Some(&(Pending::Operator(operator), _)) = self.pending.last() {
            if operator.binding() < binding {
                return;
            }
            self.pending.pop();
            self.emit(operator);
        }
    }

    fn emit(&mut self, operator: Operator) {
        let item = match (operator, self.items.last()) {
            // An operand that ends in a number is that number: `-2` is a number, `x^-2` a square.
            (Operator::Neg, Some(&Item::Number(number))) => {
                self.items.pop();
                Item::Number(-number)
            }
            (Operator::Pow, Some(&Item::Number(number))) if integer(number).is_some() => {
                self.items.pop();
                Item::PowInt(integer(number).unwrap_or_default())
            }
            (Operator::Neg, _) => Item::Neg,
            (Operator::Add, _) => Item::Add,
            (Operator::Sub, _) => Item::Sub,
            (Operator::Mul, _) => Item::Mul,
            (Operator::Div, _) => Item::Div,
            (Operator::Pow, _) => Item::Pow,
        };
        self.items.push(item);
    }

    fn named_value(&self, name: &str, range: &Range<usize>) -> Result<Item, FormulaError> {
        if let Some(&index) = self.variables.get(name) {
            return Ok(Item::Variable(index));
        }
        if let Some(number) = constant(name) {
            return Ok(Item::Number(number));
        }
        let function = |name: &str| self.functions.iter().any(|function| function.name == name);
        let name_shown = shown(name);
        let problem = if function(name) {
            format!("{name_shown} is a function, expected its arguments in brackets")
        } else {
            let known = self.names.iter().copied().chain(["pi", "e"]).chain(self.functions.iter().map(|f| f.name));
            match nearest(name, known) {
                Some(near) => format!("{name_shown} has no value, did you mean {}?", shown(near)),
                None if !self.can_bind => format!("{name_shown} is no number"),
                None => format!("{name_shown} has no value, give it one: {}", shown(&format!("{name}=1"))),
            }
        };
        Err(self.error(range.clone(), problem))
    }

    fn named_function(&self, name: &str, range: &Range<usize>) -> Result<usize, FormulaError> {
        if let Some(index) = self.functions.iter().position(|function| function.name == name) {
            return Ok(index);
        }
        let problem = if self.variables.contains_key(name) || constant(name).is_some() {
            format!("{} is no function (a product is written with `*`)", shown(name))
        } else {
            match nearest(name, self.functions.iter().map(|function| function.name)) {
                Some(near) => format!("no function is named {}, did you mean {}?", shown(name), shown(near)),
                None => format!("no function is named {}", shown(name)),
            }
        };
        Err(self.error(range.clone(), problem))
    }

    fn arity_problem(&self, function: usize, found: usize) -> String {
        let Function { name, arity, .. } = self.functions[function];
        let plural = if arity == 1 { "" } else { "s" };
        format!("{} takes {arity} argument{plural}, found {found}", shown(name))
    }

    fn found(&self, token: Token<'_>, range: &Range<usize>) -> String {
        match token {
            Token::End => "the end".into(),
            _ => shown(&self.source[range.clone()]),
        }
    }
}

/// The number as an exponent that needs no logarithm.
fn integer(number: f64) -> Option<i32> {
    let integer = number as i32;
    (f64::from(integer) == number).then_some(integer)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FUNCTIONS: &[Function<'static>] = &[
        Function { name: "sin", arity: 1, meaning: Meaning::Call(0) },
        Function { name: "ln", arity: 1, meaning: Meaning::Call(1) },
        Function { name: "max", arity: 2, meaning: Meaning::Call(2) },
        Function { name: "select", arity: 3, meaning: Meaning::Call(3) },
        Function { name: "log", arity: 1, meaning: Meaning::Call(1) },
        Function { name: "powf", arity: 2, meaning: Meaning::Power },
        Function { name: "powi", arity: 2, meaning: Meaning::WholePower },
    ];

    /// The formula with every operation in brackets.
    fn grouped(source: &str) -> String {
        let formula = parse(source, &["x", "y", "z"], FUNCTIONS).unwrap_or_else(|error| panic!("{error}"));
        let mut stack: Vec<String> = Vec::new();
        for item in formula.items() {
            let arity = match *item {
                Item::Number(_) | Item::Variable(_) => 0,
                Item::Neg | Item::PowInt(_) => 1,
                Item::Call { arity, .. } => arity,
                _ => 2,
            };
            let operands = stack.split_off(stack.len() - arity);
            let infix = |operator: &str| format!("({})", operands.join(operator));
            stack.push(match *item {
                Item::Number(number) => number.to_string(),
                Item::Variable(index) => ["x", "y", "z"][index].into(),
                Item::Neg => format!("(-{})", operands[0]),
                Item::Add => infix("+"),
                Item::Sub => infix("-"),
                Item::Mul => infix("*"),
                Item::Div => infix("/"),
                Item::Pow => infix("^"),
                Item::PowInt(power) => format!("({}^{power}i)", operands[0]),
                Item::Call { function, .. } => format!("{}({})", FUNCTIONS[function].name, operands.join(",")),
            });
        }
        assert_eq!(stack.len(), 1);
        stack.remove(0)
    }

    /// The problem, and the text it points at.
    fn problem(source: &str) -> (String, String) {
        let error = parse(source, &["x", "y", "width"], FUNCTIONS).unwrap_err();
        (error.problem().to_owned(), source[error.range()].to_owned())
    }

    #[test]
    fn operators_group_as_usual() {
        assert_eq!(grouped("x+y*z"), "(x+(y*z))");
        assert_eq!(grouped("x-y-z"), "((x-y)-z)");
        assert_eq!(grouped("x/y*z"), "((x/y)*z)");
        assert_eq!(grouped("x^y^z"), "(x^(y^z))");
        assert_eq!(grouped("x*y^z+1"), "((x*(y^z))+1)");
        assert_eq!(grouped("(x+y)*z"), "((x+y)*z)");
        assert_eq!(grouped("x − y · z ÷ x × y"), "(x-(((y*z)/x)*y))");
    }

    #[test]
    fn a_sign_binds_tighter_than_a_product_and_less_than_a_power() {
        assert_eq!(grouped("-x^2"), "(-(x^2i))");
        assert_eq!(grouped("-x*y"), "((-x)*y)");
        assert_eq!(grouped("x*-y^z"), "(x*(-(y^z)))");
        assert_eq!(grouped("2^-x"), "(2^(-x))");
        assert_eq!(grouped("2^-x*y"), "((2^(-x))*y)");
        assert_eq!(grouped("2^-x^y"), "(2^(-(x^y)))");
        assert_eq!(grouped("x--y"), "(x-(-y))");
        assert_eq!(grouped("--x"), "(-(-x))");
        assert_eq!(grouped("+x^+y"), "(x^y)");
    }

    #[test]
    fn a_written_integer_exponent_is_an_integer() {
        assert_eq!(grouped("x^2"), "(x^2i)");
        assert_eq!(grouped("x^-2"), "(x^-2i)");
        assert_eq!(grouped("x^(3)"), "(x^3i)");
        assert_eq!(grouped("x^0.5"), "(x^0.5)");
        assert_eq!(grouped("x^2^3"), "(x^(2^3i))");
        assert_eq!(grouped("x^3e9"), "(x^3000000000)");
        assert_eq!(grouped("-2^2"), "(-(2^2i))");
    }

    #[test]
    fn functions_take_their_arguments() {
        assert_eq!(grouped("max(x, -y)^2"), "(max(x,(-y))^2i)");
        assert_eq!(grouped("select(x, y+1, sin(z))*2"), "(select(x,(y+1),sin(z))*2)");
        assert_eq!(grouped("sin (x)"), "sin(x)");
        assert_eq!(grouped("ln((x))"), "ln(x)");
        assert_eq!(grouped("log(x)"), "ln(x)");
    }

    #[test]
    fn powers_can_be_written_as_functions() {
        assert_eq!(grouped("powf(-x, y+1)*z"), "(((-x)^(y+1))*z)");
        assert_eq!(grouped("powi(x+y, -3)"), "((x+y)^-3i)");
        assert_eq!(grouped("powf(x, 2)"), "(x^2i)");
        let text = "the exponent of `powi` is a whole number, any other is written with `^`";
        assert_eq!(problem("powi(x, 2.5)"), (text.into(), "powi".into()));
        assert_eq!(problem("1 + powi(x, y)"), (text.into(), "powi".into()));
        assert_eq!(problem("powi(x, -y^2)"), (text.into(), "powi".into()));
    }

    #[test]
    fn a_variable_hides_a_constant_and_a_call_is_always_a_function() {
        let formula = parse("e*pi*sin*sin(e)", &["e", "sin"], FUNCTIONS).unwrap();
        assert!(formula.uses(0) && formula.uses(1));
        assert_eq!(formula.items()[1], Item::Number(std::f64::consts::PI));
        assert_eq!(formula.items()[6], Item::Call { function: 0, arity: 1 });
    }

    #[test]
    fn problems_point_at_their_place() {
        let cases = [
            ("", "expected a formula, found nothing", ""),
            ("  ", "expected a formula, found nothing", ""),
            ("x+", "expected a number, a name or `(`, found the end", ""),
            ("x+*y", "expected a number, a name or `(`, found `*`", "*"),
            ("x**2", "expected a number, a name or `(`, found `*` (a power is written `^`)", "*"),
            ("x y", "expected an operator, found `y` (a product is written with `*`)", "y"),
            ("2x", "expected an operator, found `x` (a product is written with `*`)", "x"),
            ("(x)(y)", "expected an operator, found `(` (a product is written with `*`)", "("),
            ("x(y)", "`x` is no function (a product is written with `*`)", "x"),
            ("(x+y", "this `(` is not closed", "("),
            ("sin(x", "expected `)` to close `sin(`, found the end", ""),
            ("x)", "this `)` closes nothing", ")"),
            ("()", "expected a number, a name or `(`, found `)`", ")"),
            ("x, y", "`,` stands between the arguments of a function, here is none", ","),
            ("max((x, y))", "`,` stands between the arguments of a function, here is none", ","),
            ("sin()", "`sin` takes 1 argument, found 0", "sin"),
            ("sin(x, y)", "`sin` takes 1 argument, found 2", "sin"),
            ("1+max(x)", "`max` takes 2 arguments, found 1", "max"),
            ("max(x,)", "expected a number, a name or `(`, found `)`", ")"),
            ("sin + x", "`sin` is a function, expected its arguments in brackets", "sin"),
            ("sn(x)", "no function is named `sn`, did you mean `sin`?", "sn"),
            ("banana(x)", "no function is named `banana`", "banana"),
            ("x + wdith", "`wdith` has no value, did you mean `width`?", "wdith"),
            ("q", "`q` has no value, give it one: `q=1`", "q"),
            ("é+x", "`é` has no value, give it one: `é=1`", "é"),
            ("x=1", "unexpected character '='", "="),
            ("1e999", "this number does not fit into a 64-bit float", "1e999"),
        ];
        for (source, text, place) in cases {
            assert_eq!(problem(source), (text.to_owned(), place.to_owned()), "{source:?}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_and_long_formulas_are_not() {
        for unit in ["(", "-", "sin(", "2^", "x+(", "1-(-"] {
            let (text, _) = problem(&unit.repeat(1_000_000));
            assert_eq!(text, "nested deeper than 10000 levels", "{unit}");
        }
        let deep = format!("{}x{}", "(".repeat(9_999), ")".repeat(9_999));
        assert_eq!(parse(&deep, &["x"], &[]).unwrap().items().len(), 1);
        let long = format!("{}x", "x+".repeat(1_000_000));
        assert_eq!(parse(&long, &["x"], &[]).unwrap().items().len(), 2_000_001);
        assert_eq!(parse(&format!("{}x", "+".repeat(1_000_000)), &["x"], &[]).unwrap().items().len(), 1);
    }
}
