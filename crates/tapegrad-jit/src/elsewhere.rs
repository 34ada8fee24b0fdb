//! Runs whose columns stand where the caller has them, and go on from one run to the next.

use crate::code::{Code, Number, Scratch};
use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
use std::marker::PhantomData;

/// Rows that a column stands in for.
#[derive(Debug)]
pub enum Column<'a, T> {
    /// They are only read.
    Read(&'a [T]),
    /// They are written, and perhaps read.
    Write(&'a mut [T]),
}

/// Runs of a program, some columns of which ([`Source::columns`](crate::Source::columns)) stand elsewhere than in the arena, one run behind
/// the other: the first run works on their first rows, the second on those behind them. What stands in the arena for such a column is
/// neither read nor written.
#[derive(Debug)]
pub struct Elsewhere<'a, T> {
    code: &'a Code,
    /// Where each column stands in the next run.
    table: Vec<*mut T>,
    /// How far it moves on from run to run; 0 for those in the arena.
    steps: Vec<usize>,
    /// Whether any is in the arena.
    some_here: bool,
    /// Whether the rows of a run are asked for before it.
    asks: bool,
    /// Runs that there are rows for.
    left: usize,
    columns: PhantomData<&'a mut [T]>,
}

/// From so many columns elsewhere on, their rows are asked for before a run: each has but a few lines, which come too late where they are used,
/// for the CPU foresees what follows in a column, and not the next column.
const MANY: usize = 32;

/// More bytes than this do not wait in a second-level cache until they are used.
const AT_HAND: usize = 1 << 20;

/// Bytes of a cache line.
const LINE: usize = 64;

/// How code with such columns is called.
type Entry = unsafe extern "sysv64" fn(arena: *mut u8, scratch: *mut u8, pool: *const u8, table: *const *mut u8);

impl<'a, T: Number> Elsewhere<'a, T> {
    /// So many runs; each column comes with its number in [`Source::columns`](crate::Source::columns).
    ///
    /// # Panics
    /// If there is no such column, there are not as many rows, padding included, for each run, or a column is to be read only
    /// and the program writes it.
    pub fn new(code: &'a Code, runs: usize, columns: impl IntoIterator<Item = (usize, Column<'a, T>)>) -> Self {
        let count = code.columns().len();
        let mut table = vec![std::ptr::null_mut(); count];
        let mut steps = vec![0; count];
        for (number, column) in columns {
            let (start, len, writable) = match column {
                Column::Read(rows) => (rows.as_ptr().cast_mut(), rows.len(), false),
                Column::Write(rows) => (rows.as_mut_ptr(), rows.len(), true),
            };
            let rows = code.columns()[number].len();
            assert!(
                len / rows >= runs && (writable || !code.writes(number)),
                "expected {rows} rows of column {number} for each of {runs} runs, to be {}, found {len}",
                if code.writes(number) { "written" } else { "read" }
            );
            (table[number], steps[number]) = (start, rows);
        }
        let some_here = steps.contains(&0);
        let bytes = steps.iter().sum::<usize>() * size_of::<T>();
        let asks = steps.iter().filter(|&&step| step > 0).count() >= MANY && bytes <= AT_HAND;
        Elsewhere { code, table, steps, some_here, asks, left: runs, columns: PhantomData }
    }

    /// Runs the program once.
    ///
    /// # Panics
    /// If the number type, the length of the arena or the scratch memory is not that of the program, or there are no rows left.
    pub fn run(&mut self, arena: &mut [T], scratch: &mut Scratch) {
        self.code.check::<T>(arena.len(), scratch);
        assert!(self.left > 0, "expected rows for one more run");
        let arena = arena.as_mut_ptr();
        if self.some_here {
            for ((to, &step), column) in self.table.iter_mut().zip(&self.steps).zip(self.code.columns()) {
                if step == 0 {
                    // SAFETY: the verifier has checked that columns lie in the arena, whose length was just checked.
                    *to = unsafe { arena.add(column.start) };
                }
            }
        }
        if self.asks {
            self.ask_for_rows();
        }
        // SAFETY: as for [`Code::run`]. A column is read and written from where the table says on, and no further than it is long
        // (the verifier has checked it): in the arena, or in memory that is borrowed for as long as this value lives,
        // exclusively if it is written, and that has rows for the runs that are left.
        unsafe {
            let entry: Entry = std::mem::transmute(self.code.start());
            entry(arena.cast(), scratch.start(), scratch.pool(), self.table.as_ptr().cast());
        }
        for (at, &step) in self.table.iter_mut().zip(&self.steps) {
            *at = at.wrapping_add(step);
        }
        self.left -= 1;
    }

    /// Asks for the rows of the next run, from all columns at once, into the second-level cache.
    fn ask_for_rows(&self) {
        for (&at, &step) in self.table.iter().zip(&self.steps).filter(|&(_, &step)| step > 0) {
            let before = at.addr() % LINE;
            for line in (0..before + step * size_of::<T>()).step_by(LINE) {
                // SAFETY: asking for memory neither reads nor writes it, wherever it is.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(at.wrapping_byte_sub(before).wrapping_byte_add(line).cast()) };
            }
        }
    }
}
