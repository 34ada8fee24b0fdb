//! Owns why a model file could not be written, or was refused: the file, the tensor, the byte.

use crate::text::{shown, shown_path};
use std::fmt;
use std::path::{Path, PathBuf};

/// Why a model file was refused or could not be written: one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelError {
    path: PathBuf,
    place: Place,
    problem: String,
}

/// Where in a model file something is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Name of the tensor to blame, if it is one.
    pub tensor: Option<String>,
    /// Offset in the file, in bytes from 0, where it is known.
    pub byte: Option<u64>,
}

/// A problem whose file is not known yet: what the functions on bytes report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) place: Place,
    pub(super) text: String,
}

impl Problem {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Problem { place: Place::default(), text: text.into() }
    }

    pub(super) fn at(mut self, byte: usize) -> Self {
        self.place.byte = Some(byte as u64);
        self
    }

    pub(super) fn in_tensor(mut self, name: &str) -> Self {
        self.place.tensor = Some(name.to_owned());
        self
    }

    pub(super) fn in_file(self, path: &Path) -> ModelError {
        ModelError { path: path.to_owned(), place: self.place, problem: self.text }
    }
}

impl ModelError {
    /// Where in the file, as far as known.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", shown_path(&self.path))?;
        if let Some(tensor) = &self.place.tensor {
            write!(f, "tensor {}: ", shown(tensor))?;
        }
        f.write_str(&self.problem)?;
        match self.place.byte {
            Some(byte) => write!(f, " (byte {byte} of the file)"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ModelError {}
