//! Numbers that start at a cache line and are read and written in whole vectors.

use std::ops::{Deref, DerefMut};

/// Bytes of a cache line.
const LINE: usize = 64;

/// A row-major matrix's numbers, followed by zeros up to a whole cache line.
#[derive(Debug)]
pub(super) struct Buffer<T> {
    numbers: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Copy + Default> Buffer<T> {
    /// `len` zeros.
    pub(super) fn new(len: usize) -> Self {
        let per_line = LINE / size_of::<T>();
        // One line for the start, one that may be read past the end.
        let numbers = vec![T::default(); len.next_multiple_of(per_line) + 2 * per_line];
        // A vector's heap memory stays where it is for as long as it is not resized, and it never is.
        let start = numbers.as_ptr().align_offset(LINE);
        assert!(start < per_line, "a cache line begins within a cache line's length");
        Self { numbers, start, len }
    }

    /// The numbers, and the zeros after them.
    pub(super) fn padded(&self) -> &[T] {
        &self.numbers[self.start..][..self.len.next_multiple_of(LINE / size_of::<T>())]
    }

    /// The numbers, and the zeros after them: leave them zeros where a sum runs over them.
    pub(super) fn padded_mut(&mut self) -> &mut [T] {
        &mut self.numbers[self.start..][..self.len.next_multiple_of(LINE / size_of::<T>())]
    }

    /// The first number; a cache line past the last one can be read and written, too.
    pub(super) fn at(&self) -> *const T {
        self.numbers[self.start..].as_ptr()
    }

    /// The first number; a cache line past the last one can be read and written, too.
    pub(super) fn at_mut(&mut self) -> *mut T {
        self.numbers[self.start..].as_mut_ptr()
    }
}

impl<T: Copy + Default> FromIterator<T> for Buffer<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let items: Vec<T> = items.into_iter().collect();
        let mut buffer = Self::new(items.len());
        buffer.copy_from_slice(&items);
        buffer
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.numbers[self.start..][..self.len]
    }
}

impl<T> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.numbers[self.start..][..self.len]
    }
}
