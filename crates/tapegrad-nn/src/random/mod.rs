//! Random numbers that are the same bits for the same seed, on every machine and in every release.
//!
//! Owns every random draw of this crate; the rest of the crate takes its numbers from here and from nowhere else
//! (no entropy, no clock, no global generator), so a run is a function of its seed.
//!
//! ```text
//!             Rng::seed(7)
//!    ┌─────────────┼──────────────┐            one seed, independent streams: one more layer draws more
//! WEIGHTS       SHUFFLE         SPLIT          weights, and no row moves to another batch or another part
//!    │             │
//!  Init     .stream(epoch)                     the order of epoch 12 without the eleven before it
//! ```
//!
//! - [`Rng`] is the crate's own generator.
//! - [`numpy::RandomState`] draws what `np.random.seed(n)` makes NumPy's legacy functions draw, to reproduce NumPy
//!   programs.
//! - [`Source`] is what the two have in common, and all that [`Init`](crate::init::Init) asks for.

mod normal;
pub mod numpy;
mod rng;

pub use rng::Rng;

/// The [stream](Rng::stream) of initial weights.
pub const WEIGHTS: u64 = 0;

/// The [stream](Rng::stream) that orders the rows of each epoch: epoch `e` takes its stream `e`.
pub const SHUFFLE: u64 = 1;

/// The [stream](Rng::stream) that divides rows into training and validation parts.
pub const SPLIT: u64 = 2;

/// A stream of uniform and of normal numbers, whichever generator stands behind it.
///
/// # Examples
///
/// ```
/// use tapegrad_nn::random::{Rng, Source, numpy::RandomState};
///
/// let sources: [Box<dyn Source>; 2] = [Box::new(Rng::seed(1)), Box::new(RandomState::new(1))];
/// for mut source in sources {
///     assert!((-1.0..1.0).contains(&source.next_uniform(-1.0, 1.0)));
/// }
/// ```
pub trait Source {
    /// The next number of the uniform distribution on `[lo, hi)`, computed as `lo + (hi - lo) * u`, which may round
    /// to `hi`.
    fn next_uniform(&mut self, lo: f64, hi: f64) -> f64;

    /// The next number of the normal distribution, computed as `mean + std * z`.
    fn next_normal(&mut self, mean: f64, std: f64) -> f64;
}
