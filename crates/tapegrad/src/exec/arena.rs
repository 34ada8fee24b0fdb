//! Numbers that begin at a cache line, so that no vector of an aligned tensor straddles two.

use crate::ir::Reading;
use crate::num::pages::ask_for_large_pages;
use std::ops::{Deref, DerefMut};

/// Bytes of a cache line.
const LINE: usize = 64;

/// Numbers of which one is the first of a line, wherever they begin.
const fn padding<T>() -> usize {
    LINE / size_of::<T>()
}

/// A slice of numbers that begins at a cache line.
#[derive(Debug)]
pub(super) struct Arena<T> {
    /// The numbers, between others: [`padding`] more in all, at least.
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
        let mut padded = vec![T::ZERO; len + padding::<T>()];
        ask_for_large_pages(&mut padded);
        let start = padded.as_ptr().align_offset(LINE);
        let mut arena = Arena { padded, start, len };
        arena[..image.len()].copy_from_slice(image);
        arena
    }

    /// Cuts the end off, or appends zeros.
    pub(super) fn resize(&mut self, len: usize) {
        if len > self.len {
            *self = Arena::new(len, self);
        }
        self.len = len;
    }
}

impl<T: Clone> Clone for Arena<T> {
    fn clone(&self) -> Self {
        let room = self.len + padding::<T>();
        let mut padded = Vec::<T>::with_capacity(room);
        ask_for_large_pages(padded.spare_capacity_mut());
        let start = padded.as_ptr().align_offset(LINE);
        // What stands around the numbers is of no account, but it must be there for the next clone.
        padded.extend_from_slice(&self.padded[..start]);
        padded.extend_from_slice(self);
        padded.extend_from_slice(&self.padded[..room - padded.len()]);
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
        }
    }

    /// Copies of copies, with memory of other sizes given out in between, so that they begin in different places of a line.
    fn check_copies<T: Reading>(len: usize) {
        let image: Vec<T> = (0..len).map(|i| T::from_f64(i as f64)).collect();
        let (mut arena, mut others) = (Arena::new(len, &image), Vec::new());
        for round in 0..50 {
            others.push(vec![0u8; 1 + 24 * (round % 7)]);
            let copy = arena.clone();
            assert_eq!((&copy[..], copy.as_ptr().align_offset(64)), (&image[..], 0), "{len}, round {round}");
            others.push(vec![0u8; 40]);
            arena = copy;
        }
    }

    #[test]
    fn a_copy_of_a_copy_begins_at_a_cache_line_with_the_same_numbers() {
        for len in 0..=20 {
            check_copies::<f32>(len);
            check_copies::<f64>(len);
        }
        // In large pages, where there are any.
        let many = Arena::new(1 << 20, &[1.0, 2.0]).clone();
        assert_eq!((many.len(), &many[..3], many[many.len() - 1]), (1 << 20, &[1.0, 2.0, 0.0][..], 0.0));
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
