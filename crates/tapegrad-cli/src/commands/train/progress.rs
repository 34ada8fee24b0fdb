//! Owns what is shown while training goes on: a bar on a terminal, a few plain lines elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal, Write};

/// How many lines are written where there is no terminal.
const LINES: usize = 10;

/// Shows the progress of a training on standard error.
#[derive(Debug)]
pub(super) enum Progress {
    Bar(ProgressBar),
    Lines { epochs: usize },
    Quiet,
}

impl Progress {
    pub(super) fn new(epochs: usize, quiet: bool) -> Self {
        if quiet {
            return Progress::Quiet;
        }
        if !io::stderr().is_terminal() {
            return Progress::Lines { epochs };
        }
        let style = ProgressStyle::with_template("epoch {pos:>4} of {len} [{bar:32}] {msg} ({eta} left)")
            .expect("the template is well formed")
            .progress_chars("=> ");
        Progress::Bar(ProgressBar::new(epochs as u64).with_style(style))
    }

    /// One epoch, counted from 1, is done.
    pub(super) fn epoch(&self, epoch: usize, loss: f64) {
        match self {
            Progress::Bar(bar) => {
                bar.set_message(format!("loss {loss:.4}"));
                bar.set_position(epoch as u64);
            }
            Progress::Lines { epochs } if is_line(epoch, *epochs) => {
                // Nobody may be reading; the training goes on.
                let _ = writeln!(io::stderr(), "epoch {epoch:>4} of {epochs}  loss {loss:.4}");
            }
            Progress::Lines { .. } | Progress::Quiet => {}
        }
    }

    /// The training has ended; a bar goes away.
    pub(super) fn end(&self) {
        if let Progress::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Whether an epoch has a line: the first, the last, and every tenth part between.
fn is_line(epoch: usize, epochs: usize) -> bool {
    let part = |epoch: usize| epoch * LINES / epochs;
    epoch == 1 || part(epoch) > part(epoch - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_training_of_any_length_has_few_lines() {
        let lines = |epochs: usize| (1..=epochs).filter(|&epoch| is_line(epoch, epochs)).collect::<Vec<_>>();
        assert_eq!(lines(100), [1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
        assert_eq!(lines(3), [1, 2, 3]);
        assert_eq!(lines(1), [1]);
        assert!(lines(12_345).len() <= 11 && lines(12_345).last() == Some(&12_345));
    }
}
