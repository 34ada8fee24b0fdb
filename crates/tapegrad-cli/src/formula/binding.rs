//! Owns the values of the variables: arguments such as `x=1` or `x=-pi/4`.

use super::Floats;
use super::error::FormulaError;
use super::parse::parse_from;
use super::token::is_name;
use crate::text::shown;
use std::collections::HashMap;

/// A variable and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    /// The name of the variable.
    pub name: String,
    /// Its value; finite.
    pub value: f64,
}

/// Reads `name=value` arguments; a value is a number or arithmetic on numbers.
///
/// # Errors
///
/// If an argument is not of that form, a name comes twice, or a value is not finite.
pub fn parse_bindings<S: AsRef<str>>(arguments: &[S]) -> Result<Vec<Binding>, FormulaError> {
    let mut out: Vec<Binding> = Vec::with_capacity(arguments.len());
    let mut values: HashMap<String, f64> = HashMap::with_capacity(arguments.len());
    for argument in arguments {
        let source = argument.as_ref();
        let binding = parse_binding(source)?;
        if let Some(earlier) = values.insert(binding.name.clone(), binding.value) {
            let problem = format!("{} has a value already: {earlier}", shown(&binding.name));
            return Err(FormulaError::new(source, 0..source.find('=').unwrap_or(0), problem));
        }
        out.push(binding);
    }
    Ok(out)
}

fn parse_binding(source: &str) -> Result<Binding, FormulaError> {
    let fail = |range, problem: String| Err(FormulaError::new(source, range, problem));
    let Some(equals) = source.find('=') else {
        return fail(0..source.len(), format!("expected `name=value`, found {}", shown(source)));
    };
    let name = source[..equals].trim();
    if !is_name(name) {
        let problem = format!("expected the name of a variable before `=`, found {}", shown(name));
        return fail(0..equals, problem);
    }
    let start = equals + 1;
    let text = source[start..].trim();
    let whole = start..source.len();
    let value = match text.parse::<f64>() {
        Ok(value) => value,
        Err(_) if text.is_empty() => return fail(whole, "expected a number after `=`, found nothing".into()),
        Err(_) => parse_from(source, start, &[], &[], false)?.eval(&[], &mut Floats { functions: &[] }),
    };
    if !value.is_finite() {
        return fail(whole, format!("expected a finite number, found {}", shown(text)));
    }
    Ok(Binding { name: name.to_owned(), value })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::formula::parse;

    fn problem(arguments: &[&str]) -> (String, String) {
        let error = parse_bindings(arguments).unwrap_err();
        let source = arguments.last().unwrap();
        (error.problem().to_owned(), source[error.range()].to_owned())
    }

    #[test]
    fn values_are_numbers_or_arithmetic_on_numbers() {
        let bindings = parse_bindings(&["x=1", "y=-2e-3", " α = -pi/4 ", "z=(1+2)^2"]).unwrap();
        let found: Vec<(&str, f64)> = bindings.iter().map(|binding| (binding.name.as_str(), binding.value)).collect();
        assert_eq!(found, [("x", 1.0), ("y", -2e-3), ("α", -std::f64::consts::FRAC_PI_4), ("z", 9.0)]);
    }

    #[test]
    fn problems_point_at_their_place() {
        let cases: [(&[&str], &str, &str); 10] = [
            (&["x"], "expected `name=value`, found `x`", "x"),
            (&["--hesian"], "expected `name=value`, found `--hesian`", "--hesian"),
            (&["=1"], "expected the name of a variable before `=`, found ``", ""),
            (&["2x=1"], "expected the name of a variable before `=`, found `2x`", "2x"),
            (&["x="], "expected a number after `=`, found nothing", ""),
            (&["x=inf"], "expected a finite number, found `inf`", "inf"),
            (&["x=1/0"], "expected a finite number, found `1/0`", "1/0"),
            (&["x=1+y"], "`y` is no number", "y"),
            (&["x=1,5"], "`,` stands between the arguments of a function, here is none", ","),
            (&["x=1", "y=2", "x=3"], "`x` has a value already: 1", "x"),
        ];
        for (arguments, text, place) in cases {
            assert_eq!(problem(arguments), (text.to_owned(), place.to_owned()), "{arguments:?}");
        }
    }

    #[test]
    fn a_bound_name_can_be_used_in_a_formula() {
        let bindings = parse_bindings(&["x̂=2"]).unwrap();
        let formula = parse("x̂^3", &[&bindings[0].name], &[]).unwrap();
        assert_eq!(formula.eval(&[bindings[0].value], &mut Floats { functions: &[] }), 8.0);
    }
}
