//! The command line, a module to a subject, in one program.

mod common;
mod grad;
mod hostile_bytes;
mod malformed_tables;
mod models;
mod output;
