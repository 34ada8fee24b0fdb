//! Owns how foreign text is shown in messages, and how a misspelt name finds its neighbour.
//!
//! Every message of this command that repeats a piece of a file or of the command line passes
//! that piece through [`shown`], so a message stays one line of printable text whatever it quotes.

use std::path::Path;
use unicode_width::UnicodeWidthChar;

/// The most characters of foreign text that a message repeats.
const SHOWN_CHARACTERS: usize = 40;

/// `text` in backquotes, control characters escaped, cut off after 40 characters.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut out = String::from("`");
    let mut characters = text.chars();
    for character in characters.by_ref().take(SHOWN_CHARACTERS) {
        push_printable(&mut out, character);
    }
    if characters.next().is_some() {
        out.push_str("...");
    }
    out.push('`');
    out
}

/// A path for a message: whole, but on one line and without control characters.
#[must_use]
pub fn shown_path(path: &Path) -> String {
    let mut out = String::new();
    for character in path.display().to_string().chars() {
        push_printable(&mut out, character);
    }
    out
}

/// Whether a character is a mark of text direction: no control character, yet it reorders the line it stands in.
pub(crate) fn reorders_text(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How many columns of a terminal a text takes.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(|character| character.width().unwrap_or(0)).sum()
}

/// A figure of a size that is not known beforehand: six decimals, or seven digits and an exponent where these would be too few or too many.
pub(crate) fn figure(number: f64) -> String {
    let plain = number == 0.0 || !number.is_finite() || (1e-3..1e6).contains(&number.abs());
    if plain { format!("{number:.6}") } else { format!("{number:.6e}") }
}

fn push_printable(out: &mut String, character: char) {
    if character.is_control() || reorders_text(character) || matches!(character, '\u{2028}' | '\u{2029}') {
        out.extend(character.escape_default());
    } else {
        out.push(character);
    }
}

/// The candidate nearest to `name`, if one is near enough to be a misspelling of it.
///
/// Near enough is: equal but for case, or at most one edit (insert, delete, replace, swap of
/// neighbours) for every three characters of the longer of the two, with at least one allowed
/// from two characters on. Ties go to the earlier candidate.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name: Vec<char> = name.chars().collect();
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let letters: Vec<char> = candidate.chars().collect();
        let longest = name.len().max(letters.len());
        // Long foreign names are never typing errors for ours, and the table below is quadratic.
        if !(2..=64).contains(&longest) {
            continue;
        }
        let distance = if candidate.to_lowercase() == name.iter().collect::<String>().to_lowercase() {
            0
        } else {
            edits(&name, &letters)
        };
        if distance <= (longest / 3).max(1) && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance (Damerau-Levenshtein without repeated edits of one place).
fn edits(a: &[char], b: &[char]) -> usize {
    let width = b.len() + 1;
    let mut table: Vec<usize> = (0..width).collect();
    for i in 1..=a.len() {
        table.push(i);
        for j in 1..=b.len() {
            let above = (i - 1) * width + j;
            let replaced = table[above - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(table[above] + 1).min(table[i * width + j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(table[(i - 2) * width + j - 2] + 1);
            }
            table.push(least);
        }
    }
    table[a.len() * width + b.len()]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn shown_text_is_short_and_on_one_line() {
        assert_eq!(shown("setosa"), "`setosa`");
        assert_eq!(shown("a\nb\u{1b}[31m"), "`a\\nb\\u{1b}[31m`");
        assert_eq!(shown("a\u{202e}b"), "`a\\u{202e}b`");
        assert_eq!(shown(&"é".repeat(50)), format!("`{}...`", "é".repeat(40)));
    }

    #[test]
    fn the_nearest_name_is_one_typing_error_away() {
        let names = ["sin", "cos", "sigmoid", "ln"];
        assert_eq!(nearest("sn", names), Some("sin"));
        assert_eq!(nearest("isn", names), Some("sin"));
        assert_eq!(nearest("SIGMOID", names), Some("sigmoid"));
        assert_eq!(nearest("sigmiod", names), Some("sigmoid"));
        assert_eq!(nearest("banana", names), None);
        assert_eq!(nearest("x", ["y"]), None);
    }

    #[test]
    fn figures_of_any_size_have_digits() {
        let cases = [(0.0, "0.000000"), (0.25, "0.250000"), (1.5e-9, "1.500000e-9"), (4.9e199, "4.900000e199")];
        for (number, text) in cases {
            assert_eq!(figure(number), text);
        }
        assert_eq!(figure(f64::INFINITY), "inf");
    }

    #[test]
    fn a_swap_of_neighbours_is_one_edit() {
        let word = |text: &str| text.chars().collect::<Vec<_>>();
        assert_eq!(edits(&word("ab"), &word("ba")), 1);
        assert_eq!(edits(&word("kitten"), &word("sitting")), 3);
        assert_eq!(edits(&word(""), &word("abc")), 3);
    }
}
