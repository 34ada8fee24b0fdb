//! The expert without products of our own: buffers made once, the products of `faer` and `gemm` (and OpenBLAS where it is on), fused
//! elementwise passes. What somebody gets who writes everything but the products.

use super::Step;
use super::expert::{Vectors, over_crates};
use crate::cases::Case;

/// The net of `case`, for that many threads.
pub fn make<T: Vectors>(case: &Case, threads: usize) -> Box<dyn Step> {
    over_crates::<T>(case, threads)
}
