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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// The rights to the memory at an address, as the system lists them.
    fn rights(address: usize) -> String {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("the system lists them");
        let at = |line: &str| -> Option<String> {
            let (range, rest) = line.split_once(' ')?;
            let (start, end) = range.split_once('-')?;
            let number = |digits: &str| usize::from_str_radix(digits, 16).ok();
            let found = (number(start)?..number(end)?).contains(&address);
            found.then(|| rest.chars().take_while(|c| *c != ' ').collect())
        };
        maps.lines().find_map(at).expect("it is mapped")
    }

    #[test]
    fn what_has_been_written_can_be_run_and_not_be_written_any_more() {
        // No code at all, a little, and some that ends within its third page.
        for len in [0, 251, 40 * 251] {
            let code: Vec<u8> = (0..=250).cycle().take(len).collect();
            let memory = Memory::new(&code).expect("the system gives memory");
            assert_eq!(memory.bytes()[..len], code[..]);
            let start = memory.start().addr();
            for address in [start, start + len.saturating_sub(1)] {
                assert_eq!(rights(address), "r-xp", "{len} bytes");
            }
        }
    }
}
