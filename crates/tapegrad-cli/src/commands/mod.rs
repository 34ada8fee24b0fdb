//! What each command does, given its arguments. Results go to `out`, progress to standard error.

pub mod demo;
mod difference;
pub mod grad;
mod network;
pub mod predict;
pub mod train;
