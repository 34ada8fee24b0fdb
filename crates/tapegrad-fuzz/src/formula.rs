//! Formulas.

use crate::one_line;
use tapegrad_cli::args::GradArgs;
use tapegrad_cli::commands::grad;

/// Longer formulas only take longer.
const MOST_BYTES: usize = 400;

/// The first byte chooses options, the first line is the formula, and each other line gives a variable its value: what
/// `tapegrad grad` makes of it.
///
/// # Panics
/// If a message is neither one line nor a line above the formula with a mark.
pub fn formula(data: &[u8]) {
    let Some((&how, text)) = data.split_first() else { return };
    let Ok(text) = str::from_utf8(text) else { return };
    let mut lines = text.lines();
    let formula = lines.next().unwrap_or_default().to_owned();
    let bindings: Vec<String> = lines.take(6).map(str::to_owned).collect();
    if text.len() > MOST_BYTES {
        return;
    }
    let args = GradArgs { formula, bindings, hessian: how & 1 == 1, dot: how & 6 == 2, json: how & 6 == 4, map: None };
    let mut out = Vec::new();
    match grad::run(&args, &mut out) {
        Ok(()) => assert!(str::from_utf8(&out).is_ok_and(|out| out.ends_with('\n'))),
        Err(failure) => {
            // Below a message about a place in the text stands the text, and a mark at the place.
            let message = failure.message().expect("nothing is piped");
            let (first, rest) = message.split_once('\n').unwrap_or((&message, ""));
            one_line(first);
            assert!(rest.is_empty() || rest.lines().count() == 2, "{message:?}");
        }
    }
}
