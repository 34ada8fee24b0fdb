//! Owns the reading of points at which a formula is differentiated: columns by the names of variables.

use super::error::TableError;
use super::rows::Rows;
use std::path::Path;

/// An open table whose header has been read.
#[derive(Debug)]
pub struct Points {
    rows: Rows,
}

impl Points {
    /// Opens the file at `path`, the first row of which must hold the names of the columns.
    ///
    /// # Errors
    ///
    /// For a file that cannot be read, or has no header or no rows.
    pub fn open(path: &Path) -> Result<Points, TableError> {
        Rows::open(path, Some(true), &[]).map(|rows| Points { rows })
    }

    /// The names of all columns.
    #[must_use]
    pub fn names(&self) -> &[String] {
        self.rows.names()
    }

    /// An error about the file as a whole.
    #[must_use]
    pub fn error(&self, problem: impl Into<String>) -> TableError {
        self.rows.error(problem)
    }

    /// Reads these columns to the end of the file; the others may hold anything.
    ///
    /// # Errors
    ///
    /// For rows of different lengths, or a cell of these columns that is not a finite number.
    pub fn read(mut self, columns: &[usize]) -> Result<Vec<Vec<f64>>, TableError> {
        let mut values = vec![Vec::new(); columns.len()];
        while self.rows.advance()? {
            for (values, &column) in values.iter_mut().zip(columns) {
                values.push(self.rows.number(column)?);
            }
        }
        Ok(values)
    }
}
