//! Threads that replay together.
//!
//! ```text
//!  replaying thread   step ─┬─ part 0 ──┐ step (small) ─┬─ part 0 ─┐ …
//!  helper 1                 ├─ part 1 ──┤     spins     ├─ part 1 ─┤     spins a little, then sleeps
//!  helper 2                 └─ part 2 ──┘               └─ part 2 ─┘
//! ```
//!
//! A step takes microseconds, waking a sleeping thread takes several: so helpers look out for work for a while before they
//! sleep, and nobody waits for one to wake up. Whoever is free claims the next part, the replaying thread too; it waits
//! only for parts that were claimed. There may be more parts than threads: then a thread on a slower core does fewer. Handing
//! out work allocates nothing. Knows nothing of steps.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// How often a helper looks for work before it sleeps: some tens of microseconds.
const PATIENCE: u32 = 2_000;

/// How often the replaying thread looks whether the helpers are done before it lets others have the core.
const SHORT_PATIENCE: u32 = 4_000;

/// The most threads of a team.
pub(super) const MOST: usize = 1 << 12;

/// The most parts of a work.
pub(super) const MOST_PARTS: usize = u16::MAX as usize;

/// What is to be done, by which thread, for each part. The lifetime is [`Team::run`]'s.
type Work = *const (dyn Fn(usize, usize) + Sync);

/// Which part is the next to be claimed, of how many, of which work: one number, so that all change at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Offer {
    /// Counts the works. It comes round after 2³² of them, by when nobody is still looking at an old one.
    round: u32,
    parts: u16,
    next: u16,
}

impl Offer {
    fn pack(self) -> u64 {
        u64::from(self.round) << 32 | u64::from(self.parts) << 16 | u64::from(self.next)
    }

    fn unpack(bits: u64) -> Self {
        Offer { round: (bits >> 32) as u32, parts: (bits >> 16) as u16, next: bits as u16 }
    }
}

/// In cache lines of its own.
#[repr(align(128))]
pub(super) struct Apart<T>(pub(super) T);

struct Shared {
    offer: Apart<AtomicU64>,
    /// Parts claimed or to be claimed that have not ended.
    open: Apart<AtomicUsize>,
    /// Which helpers sleep, or are about to.
    asleep: Vec<Apart<AtomicBool>>,
    /// Written by the replaying thread while no part is open; read by those who have claimed one.
    work: UnsafeCell<Option<Work>>,
    over: AtomicBool,
    /// Whether there is something in `panic`.
    panicked: AtomicBool,
    /// What the first helper that panicked said.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Shared {
    /// Claims the next part of the work on offer, if there is one left.
    fn claim(&self) -> Option<usize> {
        let mut bits = self.offer.0.load(Acquire);
        loop {
            let offer = Offer::unpack(bits);
            if offer.next >= offer.parts {
                return None;
            }
            let taken = Offer { next: offer.next + 1, ..offer };
            match self.offer.0.compare_exchange_weak(bits, taken.pack(), Acquire, Acquire) {
                Ok(_) => return Some(offer.next.into()),
                Err(now) => bits = now,
            }
        }
    }

    /// Does a part that this thread has claimed.
    fn work(&self, thread: usize, part: usize) {
        // SAFETY: the part was claimed and is open, so the replaying thread is in `Team::run`, has written `work` before it
        // offered it, and keeps what it points to alive until no part is open.
        let outcome = catch_unwind(AssertUnwindSafe(|| unsafe {
            if let Some(work) = *self.work.get() {
                (*work)(thread, part);
            }
        }));
        if let Err(payload) = outcome {
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(payload);
            self.panicked.store(true, Relaxed);
        }
        self.open.0.fetch_sub(1, Release);
    }
}

// SAFETY: `work` is written while no part is open, and read only by those who have claimed an open part, which was offered
// after the writing; what it points to is `Sync`. All else is made for sharing.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `work` is not looked at but during `Team::run`, in which it is valid.
unsafe impl Send for Shared {}

/// Helpers that wait for work. Dropping it ends them.
pub(super) struct Team {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
}

impl Team {
    /// A team of `threads`, the caller included.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(super) fn new(threads: usize) -> std::io::Result<Team> {
        let (team, refused) = Team::up_to(threads);
        refused.map_or(Ok(team), Err)
    }

    /// A team of at most `threads`, and why it is not larger, if it is not.
    fn up_to(threads: usize) -> (Team, Option<std::io::Error>) {
        assert!(threads <= MOST, "a team has at most {MOST} threads");
        let shared = Arc::new(Shared {
            offer: Apart(AtomicU64::new(0)),
            open: Apart(AtomicUsize::new(0)),
            asleep: (1..threads).map(|_| Apart(AtomicBool::new(false))).collect(),
            work: UnsafeCell::new(None),
            over: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            panic: Mutex::new(None),
        });
        let mut team = Team { shared, helpers: Vec::new() };
        for helper in 1..threads {
            let shared = Arc::clone(&team.shared);
            let name = format!("tapegrad replay {helper}");
            match thread::Builder::new().name(name).spawn(move || help(&shared, helper)) {
                Ok(handle) => team.helpers.push(handle),
                Err(refused) => return (team, Some(refused)),
            }
        }
        (team, None)
    }

    /// Number of threads, the caller included.
    pub(super) fn threads(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Calls `work` with the number of a thread, below [`Team::threads`], and a part, once for each of `0..parts`: the first in
    /// this thread, whose number is 0, the others in order in whichever is free. Waits for all.
    ///
    /// # Panics
    /// If `work` does, after all parts have ended; if there are more than [`MOST_PARTS`].
    pub(super) fn run(&mut self, parts: usize, work: &(dyn Fn(usize, usize) + Sync)) {
        if parts <= 1 {
            return work(0, 0);
        }
        assert!(parts <= MOST_PARTS, "at most {MOST_PARTS} parts");
        let shared = &*self.shared;
        // SAFETY: no part is open: `run` does not return before all have ended, and is not entered twice (`&mut`). The
        // reference outlives all use of it for the same reason; only its lifetime is forgotten.
        unsafe {
            let work: Work = std::mem::transmute::<&(dyn Fn(usize, usize) + Sync), Work>(work);
            *shared.work.get() = Some(work);
        }
        shared.open.0.store(parts, Relaxed);
        let round = Offer::unpack(shared.offer.0.load(Relaxed)).round.wrapping_add(1);
        let count = u16::try_from(parts).expect("parts are counted in 16 bits");
        // Whoever is about to sleep either sees the offer, or is seen to sleep: both sides write, then read.
        shared.offer.0.store(Offer { round, parts: count, next: 1 }.pack(), SeqCst);
        for (asleep, helper) in shared.asleep.iter().zip(&self.helpers).take(parts - 1) {
            if asleep.0.load(SeqCst) {
                helper.thread().unpark();
            }
        }
        shared.work(0, 0);
        while let Some(part) = shared.claim() {
            shared.work(0, part);
        }
        let mut looks = 0;
        while shared.open.0.load(Acquire) > 0 {
            looks += 1;
            if looks < SHORT_PATIENCE { std::hint::spin_loop() } else { thread::yield_now() }
        }
        if shared.panicked.swap(false, Relaxed) {
            let payload = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
            resume_unwind(payload.expect("whoever says that it panicked says why"));
        }
    }
}

/// What a helper does all its life.
fn help(shared: &Shared, helper: usize) {
    let asleep = &shared.asleep[helper - 1].0;
    let mut looks = 0;
    while !shared.over.load(Relaxed) {
        if let Some(part) = shared.claim() {
            shared.work(helper, part);
            looks = 0;
        } else if looks < PATIENCE {
            looks += 1;
            std::hint::spin_loop();
        } else {
            asleep.store(true, SeqCst);
            let offer = Offer::unpack(shared.offer.0.load(SeqCst));
            if offer.next >= offer.parts && !shared.over.load(SeqCst) {
                thread::park();
            }
            asleep.store(false, Relaxed);
            looks = 0;
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.over.store(true, SeqCst);
        for helper in &self.helpers {
            helper.thread().unpark();
        }
        for helper in self.helpers.drain(..) {
            // A helper catches all panics of what it is given, so there is none to report.
            let _ = helper.join();
        }
    }
}

impl Clone for Team {
    /// A team of as many threads of its own, or as many as the system allows: fewer are slower, and nothing else.
    fn clone(&self) -> Self {
        Team::up_to(self.threads()).0
    }
}

impl std::fmt::Debug for Team {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Team of {}", self.threads())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn nobody_waits_for_a_helper_that_does_not_come() {
        // More parts than can run at a time; a helper held up in one part leaves the others to those who are free.
        let mut team = Team::new(3).unwrap();
        let done = AtomicUsize::new(0);
        team.run(3, &|_, part| {
            if part == 1 {
                while done.load(SeqCst) < 2 {
                    thread::yield_now();
                }
            }
            done.fetch_add(1, SeqCst);
        });
        assert_eq!(done.into_inner(), 3);
    }

    #[test]
    fn every_part_is_done_once_however_many_there_are() {
        let mut team = Team::new(5).unwrap();
        let rounds = if cfg!(miri) { 5 } else { 500 };
        for round in 0..rounds {
            let parts = round % 8 + 1;
            let counts: [AtomicUsize; 8] = Default::default();
            team.run(parts, &|thread, part| {
                assert!(thread < 5 && (part > 0 || thread == 0));
                counts[part].fetch_add(1, Relaxed);
            });
            let counts = counts.map(AtomicUsize::into_inner);
            assert!(counts.iter().enumerate().all(|(part, &n)| n == usize::from(part < parts)), "{parts}: {counts:?}");
        }
    }

    #[test]
    fn a_thread_that_is_held_up_leaves_all_other_parts_to_the_other() {
        let mut team = Team::new(2).unwrap();
        let done: [AtomicUsize; 2] = Default::default();
        team.run(6, &|thread, part| {
            if part == 0 {
                while done[1].load(SeqCst) < 5 {
                    thread::yield_now();
                }
            }
            done[thread].fetch_add(1, SeqCst);
        });
        assert_eq!(done.map(AtomicUsize::into_inner), [1, 5]);
    }

    #[test]
    fn helpers_that_fell_asleep_wake_up_for_work() {
        let mut team = Team::new(2).unwrap();
        for _ in 0..3 {
            while !cfg!(miri) && !team.shared.asleep.iter().all(|asleep| asleep.0.load(SeqCst)) {
                thread::sleep(Duration::from_millis(1));
            }
            let done = AtomicUsize::new(0);
            team.run(2, &|_, _| {
                done.fetch_add(1, Relaxed);
            });
            assert_eq!(done.into_inner(), 2);
        }
    }

    #[test]
    fn a_panic_in_any_part_is_passed_on_after_all_parts_have_ended() {
        for bad in 0..3 {
            let mut team = Team::new(3).unwrap();
            let done = AtomicUsize::new(0);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                team.run(3, &|_, part| {
                    assert!(part != bad, "part {part} is bad");
                    thread::sleep(Duration::from_millis(2));
                    done.fetch_add(1, Relaxed);
                });
            }));
            let message = outcome.unwrap_err();
            assert_eq!(*message.downcast_ref::<String>().unwrap(), format!("part {bad} is bad"));
            assert_eq!(done.load(Relaxed), 2, "the other parts have ended");
            // The team is as good as before.
            team.run(3, &|_, _| {
                done.fetch_add(1, Relaxed);
            });
            assert_eq!(done.into_inner(), 5);
        }
    }

    #[test]
    fn an_offer_fits_in_one_number() {
        for offer in [Offer { round: 7, parts: 3, next: 1 }, Offer { round: u32::MAX, parts: 4095, next: 4095 }] {
            assert_eq!(Offer::unpack(offer.pack()), offer);
        }
    }

    #[test]
    fn dropping_a_team_ends_its_threads() {
        let team = Team::new(4).unwrap();
        let shared = Arc::downgrade(&team.shared);
        drop(team);
        assert_eq!(shared.strong_count(), 0);
    }
}
