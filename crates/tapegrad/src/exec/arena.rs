//! Numbers that begin at a cache line, so that no vector of an aligned tensor straddles two.

use crate::ir::Reading;
use crate::num::pages::ask_for_large_pages;
use std::ops::{Deref, DerefMut};

/// Bytes of a cache line.
const LINE: usize = 64;

/// A slice of numbers that begins at a cache line.
#[derive(Debug)]
pub(super) struct Arena<T> {
    /// The numbers, between others that fill up the first line.
    padded: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Reading> Arena<T> {
    /// So many zeros, but for what they begin with.
    ///
    /// # Panics
    /// If that is longer.
    pub(super) fn new(len: usize, image: &[T]) -> Self {
        // Zeros as the system hands them out, which it does for types that are aligned no more strictly than numbers: to write them once
        // more would take as long as a tenth of a step of a large network.
        let mut padded = vec![T::ZERO; len + LINE / size_of::<T>()];
        ask_for_large_pages(&mut padded);
        let start = padded.as_ptr().align_offset(LINE);
        let mut arena = Arena { padded, start, len };
        arena[..image.len()].copy_from_slice(image);
        arena
    }

    /// Cuts the end off, or appends zeros.
    pub(super) fn resize(&mut self, len: usize) {
        if len != self.len {
            *self = Arena::new(len, &self[..self.len.min(len)]);
        }
    }
}

impl<T: Clone> Clone for Arena<T> {
    fn clone(&self) -> Self {
        let mut padded = Vec::<T>::with_capacity(self.padded.len());
        ask_for_large_pages(padded.spare_capacity_mut());
        let start = padded.as_ptr().align_offset(LINE);
        // What stands before the first line is of no account.
        padded.extend_from_slice(&self.padded[..start]);
        padded.extend_from_slice(self);
        Arena { padded, start, len: self.len }
    }
}

impl<T> Deref for Arena<T> {
    type Target = [T];
    #[inline(always)]
    fn deref(&self) -> &[T] {
        &self.padded[self.start..][..self.len]
    }
}

impl<T> DerefMut for Arena<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.padded[self.start..][..self.len]
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
            let copy = arena.clone();
            assert_eq!((&copy[..], copy.as_ptr().align_offset(64)), (&arena[..], 0));
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
