//! Checking gradients against finite differences.
//!
//! ```text
//!   f ──record──▶ tape ──grad──▶ ∇f ─────────────▶ ∇f·v ──┐
//!     └─────────▶ program ──replay at x ± h·v──▶ estimate ─┴─▶ equal?
//! ```
//!
//! [`gradcheck`] compares a recorded gradient with differences of values along one random direction, which costs a few
//! replays however many elements there are; only when that fails (or on request) does it look at the elements one by one,
//! to name the wrong one, what the mistake looks like ([`Cause`]) and the operation it comes from. [`jvp_check`] does the same for forward
//! mode, [`gradgradcheck`] for second derivatives. [`derivative`] is the estimate by itself. [`accuracy()`] compares scalar
//! operations with exact references. `suite` (behind the feature `backend-tests`) holds the
//! properties that every back end must have.
//!
//! Imports the crate's public interface only.

mod accuracy;
mod difference;
mod gradient;
#[cfg(feature = "backend-tests")]
pub mod suite;

pub use accuracy::{Accuracy, ReferenceError, Worst, accuracy};
use difference::derivative_by;
pub use difference::{Estimate, derivative};
pub use gradient::{Cause, GradcheckError, GradcheckOptions, Mismatch, gradcheck, gradgradcheck, jvp_check};
