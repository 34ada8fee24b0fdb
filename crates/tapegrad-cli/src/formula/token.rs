//! Owns how the text of a formula falls into tokens.

use super::error::FormulaError;
use std::ops::Range;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token<'a> {
    Number(f64),
    Name(&'a str),
    Plus,
    Minus,
    Star,
    Slash,
    Caret,
    Open,
    Close,
    Comma,
    End,
}

/// The tokens of a text, each with the bytes it covers.
#[derive(Debug, Clone)]
pub(super) struct Tokens<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    /// Starts at a byte of `source`.
    pub(super) fn new(source: &'a str, start: usize) -> Self {
        Tokens { source, at: start }
    }

    pub(super) fn next(&mut self) -> Result<(Token<'a>, Range<usize>), FormulaError> {
        let rest = &self.source[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        let start = self.at;
        let rest = &self.source[start..];
        let Some(first) = rest.chars().next() else {
            return Ok((Token::End, start..start));
        };
        let token = match first {
            '+' => Token::Plus,
            '-' | '−' => Token::Minus,
            '*' | '·' | '×' => Token::Star,
            '/' | '÷' => Token::Slash,
            '^' => Token::Caret,
            '(' => Token::Open,
            ')' => Token::Close,
            ',' => Token::Comma,
            '0'..='9' | '.' => return self.number(),
            _ if starts_name(first) => {
                let name = &rest[..name_length(rest)];
                self.at += name.len();
                return Ok((Token::Name(name), start..self.at));
            }
            _ => {
                let range = start..start + first.len_utf8();
                return Err(FormulaError::new(self.source, range, format!("unexpected character {first:?}")));
            }
        };
        self.at += first.len_utf8();
        Ok((token, start..self.at))
    }

    fn number(&mut self) -> Result<(Token<'a>, Range<usize>), FormulaError> {
        let start = self.at;
        let length = number_length(&self.source[start..]);
        let text = &self.source[start..start + length];
        let range = start..start + length;
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => {
                self.at = range.end;
                Ok((Token::Number(number), range))
            }
            Ok(_) => Err(FormulaError::new(self.source, range, "this number does not fit into a 64-bit float")),
            Err(_) => Err(FormulaError::new(self.source, range, "expected a number, found a point without digits")),
        }
    }
}

/// Whether `text` is a name as a whole.
pub(super) fn is_name(text: &str) -> bool {
    text.chars().next().is_some_and(starts_name) && name_length(text) == text.len()
}

fn starts_name(character: char) -> bool {
    character.is_alphabetic() || character == '_'
}

fn name_length(text: &str) -> usize {
    // Combining marks are part of the letter before them, as in a vector or a mean.
    let continues = |c: char| c.is_alphanumeric() || c == '_' || matches!(c, '\u{300}'..='\u{36f}');
    text.find(|c| !continues(c)).unwrap_or(text.len())
}

/// Digits with at most one point, and an exponent if digits follow the `e`: `2e` is 2 and a name.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits_from = |start: usize| bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut end = digits_from(0);
    if bytes.get(end) == Some(&b'.') {
        end += 1 + digits_from(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let digits = digits_from((end + 1 + sign).min(bytes.len()));
        if digits > 0 {
            end += 1 + sign + digits;
        }
    }
    end
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn all(source: &str) -> Vec<Token<'_>> {
        let mut tokens = Tokens::new(source, 0);
        let mut out = Vec::new();
        loop {
            match tokens.next().unwrap().0 {
                Token::End => return out,
                token => out.push(token),
            }
        }
    }

    #[test]
    fn numbers_are_read_as_rust_reads_them() {
        for text in ["0", "1.5", ".5", "5.", "1e-3", "1E+3", "2.5e10", "1e308", "4.9e-324"] {
            assert_eq!(all(text), [Token::Number(text.parse().unwrap())], "{text}");
        }
        assert_eq!(all("2e"), [Token::Number(2.0), Token::Name("e")]);
        assert_eq!(all("2e+x"), [Token::Number(2.0), Token::Name("e"), Token::Plus, Token::Name("x")]);
        assert_eq!(all("1.2.3"), [Token::Number(1.2), Token::Number(0.3)]);
    }

    #[test]
    fn names_may_hold_letters_of_any_script() {
        assert_eq!(
            all("α_1+x̂·été"),
            [Token::Name("α_1"), Token::Plus, Token::Name("x̂"), Token::Star, Token::Name("été")]
        );
        assert!(is_name("x1") && is_name("_"));
        assert!(!is_name("1x") && !is_name("") && !is_name("x y") && !is_name("x-y"));
    }

    #[test]
    fn what_is_no_token_is_named() {
        let problem = |source| Tokens::new(source, 0).next().unwrap_err();
        assert_eq!(problem("  $").range(), 2..3);
        assert_eq!(problem("1e999").range(), 0..5);
        assert!(problem(".").to_string().contains("a point without digits"));
        assert!(!problem("\u{1b}").to_string().contains('\u{1b}'));
    }
}
