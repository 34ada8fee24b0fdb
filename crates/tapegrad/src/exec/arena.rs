//! Numbers that begin at a cache line, so that no vector of an aligned tensor straddles two.

use crate::ir::Reading;
use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// A cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
struct Line([u64; 8]);

/// A slice of numbers that begins at a cache line.
#[derive(Clone, Debug)]
pub(super) struct Arena<T> {
    lines: Vec<Line>,
    len: usize,
    elements: PhantomData<T>,
}

/// How many lines so many numbers take.
fn lines<T>(len: usize) -> usize {
    (len * size_of::<T>()).div_ceil(size_of::<Line>())
}

/// Lines of zeros as the system hands them out. A vector filled with them would be written once more: in a large network
/// that takes as long as a tenth of a step.
fn zeros(count: usize) -> Vec<Line> {
    if count == 0 {
        return Vec::new();
    }
    let layout = Layout::array::<Line>(count).expect("an arena fits into memory");
    // SAFETY: the layout is that of `count` lines, of which there is one at least; a vector of as many frees it as such; all
    // bits being zero is a line.
    unsafe {
        let memory = alloc_zeroed(layout);
        if memory.is_null() {
            handle_alloc_error(layout);
        }
        Vec::from_raw_parts(memory.cast(), count, count)
    }
}

impl<T: Reading> Arena<T> {
    /// So many zeros, but for what they begin with.
    ///
    /// # Panics
    /// If that is longer.
    pub(super) fn new(len: usize, image: &[T]) -> Self {
        let mut arena = Arena { lines: zeros(lines::<T>(len)), len, elements: PhantomData };
        arena[..image.len()].copy_from_slice(image);
        arena
    }

    /// Cuts the end off, or appends zeros.
    pub(super) fn resize(&mut self, len: usize) {
        let old = self.len.min(len);
        self.lines.resize(lines::<T>(len), Line::default());
        self.len = len;
        self[old..].fill(T::ZERO);
    }
}

impl<T: Reading> Deref for Arena<T> {
    type Target = [T];
    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: the lines have room for `len` numbers, all bits of them are initialised, and every pattern of bits is a
        // number: `Reading` is implemented for f32 and f64 alone. Lines are aligned more strictly.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl<T: Reading> DerefMut for Arena<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arena_begins_at_a_cache_line_and_is_zero_where_it_grows() {
        for len in [0, 1, 7, 100] {
            let mut arena = Arena::<f32>::new(len, &[]);
            assert_eq!(arena.as_ptr().align_offset(64), 0);
            assert_eq!(&arena[..], vec![0.0; len]);
            arena.fill(1.0);
            arena.resize(len / 2);
            arena.resize(len + 20);
            let want: Vec<f32> = (0..len + 20).map(|i| if i < len / 2 { 1.0 } else { 0.0 }).collect();
            assert_eq!(&arena[..], want);
        }
    }

    #[test]
    fn an_arena_begins_with_its_image_and_goes_on_with_zeros() {
        for (len, image) in [(0, vec![]), (3, vec![1.5, -2.5, 3.5]), (40, vec![0.5; 17])] {
            let arena = Arena::<f64>::new(len, &image);
            let want: Vec<f64> = (0..len).map(|i| image.get(i).copied().unwrap_or(0.0)).collect();
            assert_eq!(&arena[..], want);
        }
    }
}
