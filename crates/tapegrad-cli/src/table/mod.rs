//! Tables of numbers with a target column, read from CSV files.
//!
//! ```text
//!  file ──lines──▶ bytes with line numbers ──rows──▶ named cells ──table──▶ Table (for training)
//!                  (bounded per record)              (header,      ├─────▶ Features (for prediction)
//!                                                     separator)  └─────▶ Points (for formulas)
//! ```
//!
//! A file is read once, front to back, and only numbers and class codes are kept. Whatever is
//! wrong with it is one [`TableError`]: one line with the file, the row (the line of the file,
//! counted from 1) and the column.
//!
//! What is read:
//!
//! - UTF-8, with or without byte order mark; fields separated by `,`, `;` or tab (the one that
//!   splits the first line into most fields; `,` on a tie); fields may be quoted with `"`; blank
//!   lines are skipped.
//! - The first row is a header if it holds no number. Where it holds numbers beside names over numbers,
//!   that is not clear; the file is refused, and the caller has to say. Nor is it where the numbers of the first row are 0, 1, 2, ...,
//!   or its class is that of no other row. Columns without a name are called `column 1`, `column 2`, ...
//! - Every column but the target must hold finite numbers. The target is the last column, or the
//!   one named; [`Task`] says when it is a number and when a class.

mod error;
mod features;
mod lines;
mod points;
mod rows;
mod target;
mod training;

pub use error::TableError;
pub use features::{Features, Truth, Wanted, read_features};
pub use points::Points;
pub use target::{MAX_CLASSES, Target, Task};
pub use training::{ReadOptions, Table, read_table};

/// The most columns that a file may have. A wider file is refused after its first row.
pub const MAX_COLUMNS: usize = 100_000;

/// The most bytes that one record may have: what bounds the memory that a file without line ends can claim.
pub const MAX_RECORD_BYTES: usize = 16 << 20;
