//! Training allocates nothing once it runs.
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use tapegrad::{Tape, Tensor};
use tapegrad_nn::random::Rng;
use tapegrad_nn::{Activation, Adam, Dataset, Loss, Mlp, Reduction, Trainer};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are the system's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the system's.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are the system's.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn epochs_allocate_nothing() {
    let features = Tensor::from_fn([103, 3], |i| ((i * 37) % 101) as f64 * 0.02 - 1.0);
    let labelled = Dataset::classes(features.clone(), (0..103).map(|i| i % 3).collect::<Vec<_>>(), 3).unwrap();
    let targets = Tensor::from_fn([103, 3], |i| ((i * 17) % 11) as f64);
    let real = Dataset::real(features, targets).unwrap();
    for (loss, data) in [(Loss::CrossEntropy, &labelled), (Loss::Mse, &real)] {
        let tape = Tape::new();
        let net = Mlp::builder([3, 9, 3]).hidden(Activation::Tanh).build(&tape, &mut Rng::seed(1)).unwrap();
        let trainer = Trainer::new(loss, Reduction::Mean, Adam::default(), |epoch: usize| 0.01 / (1 + epoch) as f64)
            .batch_size(10)
            .early_stopping(5, 0.0);
        let mut run = trainer.start::<f32>(&tape, &net, data, Some(data)).unwrap();
        let before = COUNT.get();
        for _ in 0..20 {
            run.epoch().unwrap();
        }
        assert_eq!(COUNT.get() - before, 0, "{loss}: 220 steps with validation");
    }
}
