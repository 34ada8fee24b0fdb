//! Data sets: rows of features with their targets, checked once when they are made.
//!
//! ```text
//!  Dataset ──split──▶ training, validation
//!  training.features() ──Standardizer::fit──▶ mean, std ──apply──▶ both parts
//! ```

mod dataset;
mod standardizer;

pub use dataset::{Dataset, Targets};
pub use standardizer::Standardizer;

use crate::error::DataError;
use tapegrad::Tensor;

/// Rows and columns of a matrix of finite numbers with at least one row.
fn check_matrix(what: &str, matrix: &Tensor) -> Result<[usize; 2], DataError> {
    let &[rows, columns] = matrix.shape().dims() else {
        let message = format!("expected {what} of shape [rows, columns], found {}", matrix.shape());
        return Err(DataError::new(message));
    };
    if rows == 0 || columns == 0 {
        let message = format!("expected {what} of at least one row and column, found shape {}", matrix.shape());
        return Err(DataError::new(message));
    }
    match matrix.data().iter().position(|x| !x.is_finite()) {
        None => Ok([rows, columns]),
        Some(i) => Err(DataError::new(format!(
            "expected finite {what}, found {} in row {}, column {} (counted from 0)",
            matrix.data()[i],
            i / columns,
            i % columns
        ))),
    }
}

/// The rows of a matrix named by number.
fn take_rows(matrix: &Tensor, rows: &[usize]) -> Tensor {
    let columns = matrix.shape().dims()[1];
    Tensor::from_fn([rows.len(), columns], |i| matrix.data()[rows[i / columns] * columns + i % columns])
}
