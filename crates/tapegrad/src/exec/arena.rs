//! Numbers that begin at a cache line, so that no vector of an aligned tensor straddles two.

use crate::ir::Reading;
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

impl<T: Reading> Arena<T> {
    /// So many zeros.
    pub(super) fn new(len: usize) -> Self {
        let mut arena = Arena { lines: Vec::new(), len: 0, elements: PhantomData };
        arena.resize(len);
        arena
    }

    /// Cuts the end off, or appends zeros.
    pub(super) fn resize(&mut self, len: usize) {
        let old = self.len.min(len);
        self.lines.resize((len * size_of::<T>()).div_ceil(size_of::<Line>()), Line::default());
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
            let mut arena = Arena::<f32>::new(len);
            assert_eq!(arena.as_ptr().align_offset(64), 0);
            assert_eq!(&arena[..], vec![0.0; len]);
            arena.fill(1.0);
            arena.resize(len / 2);
            arena.resize(len + 20);
            let want: Vec<f32> = (0..len + 20).map(|i| if i < len / 2 { 1.0 } else { 0.0 }).collect();
            assert_eq!(&arena[..], want);
        }
    }
}
