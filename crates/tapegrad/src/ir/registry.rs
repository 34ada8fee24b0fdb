//! The thread's registry of tapes.
//!
//! A [`Var`](super::Var) is only a pair of keys; the graph it points into lives in a thread-local registry, owned by its
//! [`Tape`](super::Tape). That is what makes handles `Copy` and free of lifetimes. The look-up is paid while recording, never on replay.

use super::tape::Recording;
use crate::error::{Issue, RecordError, RecordErrorKind};
use slotmap::{SlotMap, new_key_type};
use std::cell::RefCell;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

new_key_type! {
    /// The key of a tape in its thread's registry.
    pub struct TapeKey;
}

/// Nothing stands in the place of a recording that is [apart](with_apart).
type Place = Option<Box<Recording>>;

thread_local! {
    static TAPES: RefCell<SlotMap<TapeKey, Place>> = RefCell::new(SlotMap::with_key());
    static REGISTRY: u64 = {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        NEXT.fetch_add(1, Relaxed)
    };
}

/// The number of this thread's registry: no other thread, running or ended, has or had the same.
///
/// Keys repeat from thread to thread. Handles stay on their thread, but programs and states do not: they remember whose
/// handles they answer to.
pub(crate) fn registry() -> u64 {
    REGISTRY.with(|&number| number)
}

/// A new, empty recording.
pub(super) fn add() -> TapeKey {
    TAPES.with_borrow_mut(|tapes| tapes.insert(Some(Box::default())))
}

/// Drops a recording.
pub(super) fn remove(key: TapeKey) {
    // The registry itself may be gone already when a thread ends; and what is dropped may be a user's, with tapes of its own.
    let recording = TAPES.try_with(|tapes| tapes.borrow_mut().remove(key));
    drop(recording);
}

/// Runs `f` on the recording of a tape; an error if the tape was dropped.
#[inline]
pub(crate) fn with<R>(
    key: TapeKey,
    op: &str,
    at: &'static Location<'static>,
    f: impl FnOnce(&mut Recording) -> R,
) -> Result<R, RecordError> {
    if_there(key, f).ok_or_else(|| RecordError::new(op, missing(key), at))
}

/// Runs `f` on the recording of a tape, if it was not dropped and is not apart.
#[inline]
pub(super) fn if_there<R>(key: TapeKey, f: impl FnOnce(&mut Recording) -> R) -> Option<R> {
    TAPES.with_borrow_mut(|tapes| tapes.get_mut(key)?.as_deref_mut().map(f))
}

/// [`with`], while the thread's tapes are free for others: `f` may call what a user has written, which may make tapes of its own. This
/// tape can neither be read nor recorded on meanwhile.
pub(crate) fn with_apart<R>(
    key: TapeKey,
    op: &str,
    at: &'static Location<'static>,
    f: impl FnOnce(&mut Recording) -> R,
) -> Result<R, RecordError> {
    /// Puts the recording back, even if `f` panics.
    struct Apart(TapeKey, Place);
    impl Drop for Apart {
        fn drop(&mut self) {
            TAPES.with_borrow_mut(|tapes| {
                if let Some(place) = tapes.get_mut(self.0) {
                    *place = self.1.take();
                }
            });
        }
    }
    let place = TAPES.with_borrow_mut(|tapes| tapes.get_mut(key).and_then(Option::take));
    let mut apart = Apart(key, place);
    match &mut apart.1 {
        Some(recording) => Ok(f(recording)),
        None => Err(RecordError::new(op, missing(key), at)),
    }
}

#[cold]
fn missing(key: TapeKey) -> Issue {
    if TAPES.with_borrow(|tapes| tapes.contains_key(key)) {
        return Issue::new(RecordErrorKind::Request, "this handle belongs to a tape whose values are being computed")
            .help("the kernel of an operation computes with what it is given; it may record on tapes of its own");
    }
    Issue::new(RecordErrorKind::Dropped, "this handle belongs to a tape that was dropped")
        .help("keep the `Tape` alive while its handles are in use; a `Program` is what outlives it")
}
