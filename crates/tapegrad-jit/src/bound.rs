//! Compiled code with memory of its own, so that what every run would have to check is checked once.

use crate::code::{Code, Line, Number, Scratch};
use crate::scalars::Scalars;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// Compiled code, the arena it runs on, and nobody else's hand on either: for code so short that looking after its memory at every run
/// would take as long as running it.
pub struct Bound<T> {
    entry: Entry,
    /// Whose code it is.
    owner: Arc<dyn fmt::Debug + Send + Sync>,
    arena: Vec<Line>,
    len: usize,
    scratch: Scratch,
    elements: PhantomData<T>,
}

/// Code for scalars looks at the first argument only, which is how it is called elsewhere.
type Entry = unsafe extern "sysv64" fn(arena: *mut u8, scratch: *mut u8, pool: *const u8);

impl<T: Number> Bound<T> {
    /// A program on a copy of these numbers.
    ///
    /// # Panics
    /// If the number type or their count is not that of the program, or it has columns that may stand elsewhere.
    #[must_use]
    pub fn to_code(code: Arc<Code>, numbers: &[T]) -> Self {
        assert!(code.columns().is_empty(), "expected a program whose numbers all stand in its arena");
        let mut bound = Bound::new(code.start(), Arc::clone(&code) as _, numbers);
        bound.scratch = code.scratch_beside(bound.numbers());
        code.check::<T>(numbers.len(), &bound.scratch);
        bound
    }

    /// A piece of scalar code on a copy of these numbers.
    ///
    /// # Panics
    /// If there is no such piece, or the number type or their count is not that of the piece.
    #[must_use]
    pub fn to_scalars(code: Arc<Scalars>, piece: usize, numbers: &[T]) -> Self {
        let entry = code.checked::<T>(piece, numbers.len());
        Bound::new(entry, code, numbers)
    }

    /// Code that needs no scratch memory, or is given it afterwards. The arena must be large enough for what is run on it.
    fn new(entry: *const u8, owner: Arc<dyn fmt::Debug + Send + Sync>, numbers: &[T]) -> Self {
        // SAFETY: a function of this type begins there: of these arguments, or of the first of them.
        let entry = unsafe { std::mem::transmute::<*const u8, Entry>(entry) };
        let lines = size_of_val(numbers).div_ceil(size_of::<Line>());
        let (arena, scratch) = (vec![Line::default(); lines], Scratch::default());
        let mut bound = Bound { entry, owner, arena, len: numbers.len(), scratch, elements: PhantomData };
        bound.numbers_mut().copy_from_slice(numbers);
        bound
    }

    /// Runs the code once.
    #[inline(always)]
    pub fn run(&mut self) {
        // SAFETY: number type and lengths were checked when the code was bound, and have not changed since; the rest as for
        // [`Code::run`] and [`Scalars::run`]. The owner keeps the code.
        unsafe { (self.entry)(self.arena.as_mut_ptr().cast(), self.scratch.start(), self.scratch.pool()) };
    }

    /// The arena.
    #[must_use]
    #[inline(always)]
    pub fn numbers(&self) -> &[T] {
        // SAFETY: the lines have room for as many numbers, all bits are initialised, and every pattern of bits is a number:
        // `Number` is sealed. Lines are aligned more strictly.
        unsafe { std::slice::from_raw_parts(self.arena.as_ptr().cast(), self.len) }
    }

    /// The arena, to be changed.
    #[inline(always)]
    pub fn numbers_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.arena.as_mut_ptr().cast(), self.len) }
    }
}

impl<T> fmt::Debug for Bound<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("code", &self.owner).field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Block, Effort, Elem, Inst, Op, ScalarInst, ScalarOp, ScalarSource, Source, compile, compile_scalars};

    /// The ninth number becomes the sum of squares of the first three.
    fn sum_of_squares() -> Option<Arc<Code>> {
        let row = Inst { op: Op::Row, a: 0, b: 0, c: 0 };
        let sum = Inst { op: Op::SumProduct, a: 0, b: 0, c: 8 };
        let block = Block { rows: Some(3), code: vec![row, sum] };
        let source = Source {
            elem: Elem::F64,
            arena: 16,
            private: 0..0,
            columns: Vec::new(),
            functions: &[],
            blocks: vec![block],
        };
        compile(&source).ok().map(Arc::new)
    }

    /// The second number becomes the square of the first.
    fn square() -> Option<Arc<Scalars>> {
        let code = [ScalarInst { op: ScalarOp::Square, dst: 1, args: [0, 0, 0] }];
        let source = ScalarSource::<f32> { arena: 2, kept: 2, code: &code, functions: &[] };
        compile_scalars(&[source], Effort::Quick).ok().map(Arc::new)
    }

    #[test]
    fn bound_code_computes_what_it_does_on_an_arena_of_the_callers() {
        let (Some(sum), Some(square)) = (sum_of_squares(), square()) else { return };
        let mut numbers = [0.0f64; 16];
        numbers[..3].copy_from_slice(&[1.0, 2.0, 3.0]);
        let mut bound = Bound::to_code(Arc::clone(&sum), &numbers);
        bound.run();
        sum.run(&mut numbers, &mut sum.scratch());
        assert_eq!((bound.numbers(), numbers[8]), (&numbers[..], 14.0));
        let mut bound = Bound::to_scalars(square, 0, &[0.0f32; 2]);
        // Another thread may run it, and whoever made the code may be gone.
        let results = std::thread::spawn(move || {
            bound.numbers_mut()[0] = 3.0;
            bound.run();
            bound.numbers().to_vec()
        });
        assert_eq!(results.join().ok(), Some(vec![3.0, 9.0]));
    }

    #[test]
    #[should_panic(expected = "expected the memory of the program that is run")]
    fn too_few_numbers_are_refused_for_programs() {
        let Some(sum) = sum_of_squares() else { panic!("expected the memory of the program that is run") };
        let _ = Bound::to_code(sum, &[0.0f64; 8]);
    }

    #[test]
    #[should_panic(expected = "expected the memory of the piece that is run")]
    fn numbers_of_another_type_are_refused_for_scalars() {
        let Some(square) = square() else { panic!("expected the memory of the piece that is run") };
        let _ = Bound::to_scalars(square, 0, &[0.0f64; 2]);
    }
}
