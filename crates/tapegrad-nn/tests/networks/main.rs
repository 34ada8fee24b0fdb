//! The networks crate, a module to a subject, in one program.

mod common;
mod losses;
mod optimizers;
mod training;
mod training_errors;
