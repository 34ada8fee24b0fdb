//! Executable memory: written first, then made executable; never both at once.
//!
//! On Unix code of no more than a page shares a mapping with other code, a page for each: to map one for each takes as long as to
//! make the code of a small formula. A mapping (64 KiB) stays as long as any of its code does.

use memmap2::{Mmap, MmapOptions};
use std::io;

/// Machine code in pages of its own.
#[derive(Debug)]
pub(crate) enum Memory {
    Mapped(Mmap),
    #[cfg(unix)]
    Page(pages::Page),
}

impl Memory {
    pub(crate) fn new(code: &[u8]) -> io::Result<Memory> {
        #[cfg(unix)]
        if code.len() <= pages::PAGE {
            return pages::Page::new(code).map(Memory::Page);
        }
        // What is as long as this is written as a whole: all its pages are brought at once.
        let mut writable = MmapOptions::new().len(code.len().max(1)).populate().map_anon()?;
        writable[..code.len()].copy_from_slice(code);
        Ok(Memory::Mapped(writable.make_exec()?))
    }

    pub(crate) fn start(&self) -> *const u8 {
        self.bytes().as_ptr()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Memory::Mapped(map) => map,
            #[cfg(unix)]
            Memory::Page(page) => page.bytes(),
        }
    }
}

#[cfg(unix)]
mod pages {
    use memmap2::{MmapMut, MmapRaw};
    use std::io;
    use std::sync::{Arc, Mutex, PoisonError};

    /// What has rights of its own: 4 KiB on every x86-64.
    pub(super) const PAGE: usize = 4096;
    /// Pages that are mapped together; they are given back together, when no code of them is left.
    const PAGES: usize = 16;

    /// The pages of a mapping, and how many of them are given out. Those that are not can be written.
    struct Open {
        map: Arc<MmapRaw>,
        given: usize,
    }

    static OPEN: Mutex<Option<Open>> = Mutex::new(None);

    /// Code in a page of a mapping.
    #[derive(Debug)]
    pub(crate) struct Page {
        map: Arc<MmapRaw>,
        /// Where it begins, in bytes.
        start: usize,
        len: usize,
    }

    impl Page {
        /// A page with this code, which fits in it.
        pub(super) fn new(code: &[u8]) -> io::Result<Page> {
            assert!(code.len() <= PAGE, "expected code of no more than a page");
            let (map, start) = next()?;
            // SAFETY: the page lies in the mapping, can be written, and is given out once, to us; the code fits in it.
            unsafe { code.as_ptr().copy_to_nonoverlapping(map.as_mut_ptr().add(start), code.len()) };
            // SAFETY: it is a whole page of a mapping that is ours, to which nobody writes from now on.
            let failed =
                unsafe { libc::mprotect(map.as_mut_ptr().add(start).cast(), PAGE, libc::PROT_READ | libc::PROT_EXEC) };
            if failed != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Page { map, start, len: code.len() })
        }

        pub(super) fn bytes(&self) -> &[u8] {
            // SAFETY: so many bytes were written there, and nobody writes to them while this lives: the page was given out once.
            unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(self.start), self.len) }
        }
    }

    /// A page that was not given out before.
    fn next() -> io::Result<(Arc<MmapRaw>, usize)> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let of = match open.take().filter(|open| open.given < PAGES) {
            Some(of) => of,
            None => Open { map: Arc::new(MmapMut::map_anon(PAGES * PAGE)?.into()), given: 0 },
        };
        let Open { map, given } = open.insert(of);
        let start = *given * PAGE;
        *given += 1;
        Ok((Arc::clone(map), start))
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
        // No code at all, a little, a page, a little more, and some that ends within its third page.
        for len in [0, 251, 4096, 4097, 40 * 251] {
            let code: Vec<u8> = (0..=250).cycle().take(len).collect();
            let memory = Memory::new(&code).expect("the system gives memory");
            assert_eq!(memory.bytes()[..len], code[..]);
            let start = memory.start().addr();
            for address in [start, start + len.saturating_sub(1)] {
                assert_eq!(rights(address), "r-xp", "{len} bytes");
            }
        }
    }

    #[test]
    fn code_in_pages_of_one_mapping_stays_when_its_neighbours_come_and_go() {
        let code = |number: u8| vec![number; 1000 + usize::from(number)];
        let mut kept: Vec<Option<Memory>> = Vec::new();
        for number in 0..50 {
            kept.push(Some(Memory::new(&code(number)).expect("the system gives memory")));
            if let Some(before) = kept.iter_mut().rev().nth(1).filter(|_| number % 3 > 0) {
                *before = None;
            }
        }
        let left: Vec<(u8, &Memory)> =
            (0..).zip(&kept).filter_map(|(number, code)| Some((number, code.as_ref()?))).collect();
        // More than a mapping's, given back together.
        drop((0..40).map(|number| Memory::new(&code(number)).expect("the system gives memory")).collect::<Vec<_>>());
        for (number, memory) in left {
            assert_eq!(memory.bytes(), code(number));
            assert_eq!(rights(memory.start().addr()), "r-xp");
        }
    }
}
