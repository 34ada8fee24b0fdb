//! Owns the message that points at a place in a formula.

use crate::text::{columns, reorders_text};
use std::fmt;
use std::ops::Range;
use unicode_width::UnicodeWidthChar;

/// How many columns of the formula are shown on each side of the place.
const CONTEXT_COLUMNS: usize = 36;

/// What is wrong with a formula or a binding, and where.
///
/// It displays as three lines: the problem, the text, and carets under the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormulaError {
    problem: String,
    source: String,
    range: Range<usize>,
}

impl FormulaError {
    pub(super) fn new(source: &str, range: Range<usize>, problem: impl Into<String>) -> Self {
        FormulaError { problem: problem.into(), source: source.to_owned(), range }
    }

    /// The bytes of the text that are to blame; empty where something is missing.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// The column of the place: characters, counted from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.source[..self.range.start].chars().count() + 1
    }

    /// The problem in one line, without the place.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl fmt::Display for FormulaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = self.range;
        let (before, cut_before) = last_columns(&self.source[..start], CONTEXT_COLUMNS);
        let (marked, cut_marked) = first_columns(&self.source[start..end], CONTEXT_COLUMNS);
        let (after, cut_after) =
            if cut_marked { (String::new(), true) } else { first_columns(&self.source[end..], CONTEXT_COLUMNS) };
        let dots = |cut: bool| if cut { "..." } else { "" };
        writeln!(f, "column {}: {}", self.column(), self.problem)?;
        writeln!(f, "  {}{before}{marked}{after}{}", dots(cut_before), dots(cut_after))?;
        let indent = 2 + dots(cut_before).len() + columns(&before);
        write!(f, "{}{}", " ".repeat(indent), "^".repeat(columns(&marked).max(1)))
    }
}

impl std::error::Error for FormulaError {}

/// A character as it can stand in a line without breaking it.
fn printable(character: char) -> char {
    match character {
        _ if character.is_whitespace() => ' ',
        _ if character.is_control() || reorders_text(character) => '\u{fffd}',
        _ => character,
    }
}

/// The start of a text, up to some columns, and whether anything was cut off.
fn first_columns(text: &str, limit: usize) -> (String, bool) {
    take_columns(text.chars(), limit)
}

/// The end of a text, up to some columns, and whether anything was cut off.
fn last_columns(text: &str, limit: usize) -> (String, bool) {
    let (reversed, cut) = take_columns(text.chars().rev(), limit);
    (reversed.chars().rev().collect(), cut)
}

fn take_columns(characters: impl Iterator<Item = char>, limit: usize) -> (String, bool) {
    let mut out = String::new();
    let mut used = 0;
    for (count, character) in characters.enumerate() {
        let character = printable(character);
        used += character.width().unwrap_or(0);
        // Marks without width could pile up for ever.
        if used > limit || count > 4 * limit {
            return (out, true);
        }
        out.push(character);
    }
    (out, false)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shown(source: &str, place: &str) -> String {
        let start = source.rfind(place).unwrap();
        FormulaError::new(source, start..start + place.len(), "bad").to_string()
    }

    #[test]
    fn carets_stand_under_the_place() {
        assert_eq!(shown("sin(x)*yy", "yy"), "column 8: bad\n  sin(x)*yy\n         ^^");
        assert_eq!(shown("x+", ""), "column 3: bad\n  x+\n    ^");
    }

    #[test]
    fn carets_stand_right_after_wide_and_combining_characters() {
        assert_eq!(shown("é+q", "q"), "column 3: bad\n  é+q\n    ^");
        // Two columns each on a terminal, one character each.
        assert_eq!(shown("漢字+q", "q"), "column 4: bad\n  漢字+q\n       ^");
        // A letter and a mark without width.
        assert_eq!(shown("x\u{302}+q", "q"), "column 4: bad\n  x\u{302}+q\n    ^");
    }

    #[test]
    fn a_long_formula_is_shown_around_the_place() {
        let long = "1+".repeat(100_000);
        let text = shown(&format!("{long}q{long}"), "q");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "column 200001: bad");
        assert!(lines[1].starts_with("  ...1+1+") && lines[1].ends_with("+1+..."), "{text}");
        assert_eq!(lines[1].find('q'), lines[2].find('^'), "{text}");
        assert!(text.len() < 200);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(shown("a\n\t\u{1b}[2Jq", "q"), "column 8: bad\n  a  \u{fffd}[2Jq\n         ^");
    }
}
