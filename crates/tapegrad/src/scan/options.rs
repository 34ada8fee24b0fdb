//! How much memory a scan may use, and what that costs.

use super::revolve::recomputed;
use crate::error::{Issue, RecordErrorKind};
use crate::num::Float;

/// What the states kept for going back may take unless said otherwise.
const MEMORY: usize = 4 << 20;

/// How many of its states a scan keeps for its derivative; all others are computed again. By default as many as fit in 4 MiB,
/// and at least the square root of the number of steps: then no step is carried out again more than three times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanOptions {
    room: Room,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Room {
    #[default]
    Auto,
    Bytes(usize),
    States(usize),
}

/// What the derivative of a scan takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanPlan {
    /// How many states are kept at a time.
    pub checkpoints: usize,
    /// Their size in bytes.
    pub bytes: usize,
    /// How many steps are carried out again on the way back, besides the one reversal of each: the fewest possible with so many
    /// checkpoints.
    pub recomputed: u64,
}

impl ScanOptions {
    /// The states kept take at most so many bytes. Derivatives of higher order carry larger states, and keep fewer.
    #[must_use]
    pub fn memory(self, bytes: usize) -> Self {
        ScanOptions { room: Room::Bytes(bytes) }
    }

    /// At most so many states are kept, the first among them.
    #[must_use]
    pub fn checkpoints(self, states: usize) -> Self {
        ScanOptions { room: Room::States(states) }
    }

    /// What the derivative of a scan of so many steps takes whose states hold so many numbers together, in `T`.
    ///
    /// ```
    /// use tapegrad::ScanOptions;
    /// let plan = ScanOptions::default().checkpoints(1000).plan::<f64>(1_000_000, 2);
    /// assert_eq!((plan.bytes, plan.recomputed), (16_000, 2_497_497));
    /// ```
    #[must_use]
    pub fn plan<T: Float>(&self, steps: usize, numbers: usize) -> ScanPlan {
        let state = size_of::<T>().saturating_mul(numbers).max(1);
        let checkpoints = match self.room {
            Room::Auto => (MEMORY / state).max(steps.isqrt()),
            Room::Bytes(bytes) => bytes / state,
            Room::States(states) => states,
        };
        let checkpoints = checkpoints.clamp(1, steps.max(1));
        ScanPlan { checkpoints, bytes: checkpoints.saturating_mul(state), recomputed: recomputed(steps, checkpoints) }
    }

    /// Refuses room for no state at all.
    pub(super) fn check(&self, numbers: usize) -> Result<(), Issue> {
        let state = numbers.saturating_mul(size_of::<f64>());
        let message = match self.room {
            Room::Bytes(bytes) if bytes < state => {
                format!("expected memory for at least one state, which takes {state} bytes, found {bytes}")
            }
            Room::States(0) => "expected room for at least one checkpoint, found 0".to_owned(),
            _ => return Ok(()),
        };
        Err(Issue::new(RecordErrorKind::Request, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted_in_states_and_is_never_less_than_one() {
        let plan = |options: ScanOptions, steps| options.plan::<f64>(steps, 4);
        let of = ScanOptions::default();
        assert_eq!(plan(of.memory(1000), 10_000), ScanPlan { checkpoints: 31, bytes: 992, recomputed: 33_455 });
        assert_eq!(of.memory(1000).plan::<f32>(10_000, 4).checkpoints, 62);
        assert_eq!(plan(of.memory(31), 10).checkpoints, 1);
        assert_eq!(plan(of, 10).checkpoints, 10);
        assert_eq!(of.plan::<f64>(1_000_000, 1 << 20).checkpoints, 1000, "large states: the square root");
        assert_eq!(plan(of, 0), ScanPlan { checkpoints: 1, bytes: 32, recomputed: 0 });
        assert!(
            of.memory(31).check(4).is_err() && of.memory(32).check(4).is_ok() && of.checkpoints(0).check(4).is_err()
        );
    }
}
