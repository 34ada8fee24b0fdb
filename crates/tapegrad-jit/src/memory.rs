//! Executable memory: written first, then made executable; never both at once.

use memmap2::{Mmap, MmapMut};
use std::io;

/// Machine code in memory of its own.
#[derive(Debug)]
pub(crate) struct Memory(Mmap);

impl Memory {
    pub(crate) fn new(code: &[u8]) -> io::Result<Memory> {
        let mut writable = MmapMut::map_anon(code.len().max(1))?;
        writable[..code.len()].copy_from_slice(code);
        Ok(Memory(writable.make_exec()?))
    }

    pub(crate) fn start(&self) -> *const u8 {
        self.0.as_ptr()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}
