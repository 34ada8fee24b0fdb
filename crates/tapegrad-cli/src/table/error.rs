//! Owns the one line that says what is wrong with a table, and where.

use crate::text::{shown, shown_path};
use std::fmt;
use std::path::{Path, PathBuf};

/// Why a table was refused: one line with the file, the row and the column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableError {
    path: PathBuf,
    line: Option<u64>,
    column: Option<String>,
    problem: String,
}

impl TableError {
    pub(super) fn new(path: &Path, problem: impl Into<String>) -> Self {
        TableError { path: path.to_owned(), line: None, column: None, problem: problem.into() }
    }

    pub(super) fn at_line(mut self, line: u64) -> Self {
        self.line = Some(line);
        self
    }

    pub(super) fn in_column(mut self, column: impl Into<String>) -> Self {
        self.column = Some(column.into());
        self
    }

    /// The line of the file where the row starts, from 1, where one row is to blame.
    #[must_use]
    pub fn line(&self) -> Option<u64> {
        self.line
    }

    /// The name of the column, where one column is to blame.
    #[must_use]
    pub fn column(&self) -> Option<&str> {
        self.column.as_deref()
    }
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", shown_path(&self.path))?;
        match (self.line, &self.column) {
            (Some(line), Some(column)) => write!(f, "row {line}, column {}: ", shown(column))?,
            (Some(line), None) => write!(f, "row {line}: ")?,
            (None, Some(column)) => write!(f, "column {}: ", shown(column))?,
            (None, None) => {}
        }
        f.write_str(&self.problem)
    }
}

impl std::error::Error for TableError {}
