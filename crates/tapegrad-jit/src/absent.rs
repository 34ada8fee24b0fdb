//! Where there is no code generator: the same names, and nothing that can be made.

use crate::ir::{Effort, Elem, LinesSource, PassSource, ScalarSource, Source};
use crate::verify::Defect;
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// A compiled program; none exists on this platform.
#[derive(Debug)]
pub enum Code {}

/// Memory of a run.
#[derive(Clone, Debug, Default)]
pub struct Scratch(());

/// A number type of compiled programs: `f32` or `f64`.
pub trait Number: Copy {
    /// What it is called in a [`Source`].
    const ELEM: Elem;
}

impl Number for f32 {
    const ELEM: Elem = Elem::F32;
}

impl Number for f64 {
    const ELEM: Elem = Elem::F64;
}

impl Code {
    /// Memory for one thread's runs.
    #[must_use]
    pub fn scratch(&self) -> Scratch {
        match *self {}
    }

    /// Memory for one thread's runs over an arena.
    #[must_use]
    pub fn scratch_beside<T>(&self, _: &[T]) -> Scratch {
        match *self {}
    }

    /// Runs the program once.
    pub fn run<T: Number>(&self, _: &mut [T], _: &mut Scratch) {
        match *self {}
    }

    /// Columns that may stand elsewhere.
    #[must_use]
    pub fn columns(&self) -> &[std::ops::Range<usize>] {
        match *self {}
    }

    /// The machine code.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match *self {}
    }
}

/// Rows that a column stands in for.
#[derive(Debug)]
pub enum Column<'a, T> {
    /// They are only read.
    Read(&'a [T]),
    /// They are written, and perhaps read.
    Write(&'a mut [T]),
}

/// Runs of a program with columns elsewhere; none exists on this platform.
#[derive(Debug)]
pub struct Elsewhere<'a, T>(Infallible, PhantomData<&'a mut [T]>);

impl<'a, T: Number> Elsewhere<'a, T> {
    /// So many runs.
    pub fn new(code: &'a Code, _: usize, _: impl IntoIterator<Item = (usize, Column<'a, T>)>) -> Self {
        match *code {}
    }

    /// Runs the program once.
    pub fn run(&mut self, _: &mut [T], _: &mut Scratch) {
        match self.0 {}
    }
}

/// Compiled code with memory of its own; none exists on this platform.
#[derive(Debug)]
pub struct Bound<T>(Infallible, PhantomData<T>);

impl<T: Number> Bound<T> {
    /// A program on a copy of these numbers.
    #[must_use]
    pub fn to_code(code: Arc<Code>, _: &[T]) -> Self {
        match *code {}
    }

    /// A piece of scalar code on a copy of these numbers.
    #[must_use]
    pub fn to_scalars(code: Arc<Scalars>, _: usize, _: &[T]) -> Self {
        match *code {}
    }

    /// Runs the code once.
    pub fn run(&mut self) {
        match self.0 {}
    }

    /// The arena.
    #[must_use]
    pub fn numbers(&self) -> &[T] {
        match self.0 {}
    }

    /// The arena, to be changed.
    pub fn numbers_mut(&mut self) -> &mut [T] {
        match self.0 {}
    }
}

/// Why there is no machine code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompileError {
    /// The CPU is none of x86-64.
    Unsupported,
    /// The program breaks a rule.
    Defect(Defect),
    /// The system gives no executable memory.
    Memory(String),
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("machine code needs an x86-64 CPU with AVX2 and FMA")
    }
}

impl std::error::Error for CompileError {}

/// Whether this CPU can run what is compiled here.
#[must_use]
pub fn supported() -> bool {
    false
}

/// How many numbers the longest vectors have that loops over rows take: 1, for there are no such loops.
#[must_use]
pub fn longest_vector(_: Elem) -> usize {
    1
}

/// Compiles nothing.
///
/// # Errors
/// Always.
pub fn compile(_: &Source) -> Result<Code, CompileError> {
    Err(CompileError::Unsupported)
}

/// Compiled passes; none exist on this platform.
#[derive(Debug)]
pub enum Passes {}

impl Passes {
    /// Elements of temporary memory that a pass needs.
    #[must_use]
    pub fn temporary(&self, _: usize) -> usize {
        match *self {}
    }

    /// The machine code.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match *self {}
    }

    /// Runs a pass.
    ///
    /// # Safety
    /// There is nothing to run.
    pub unsafe fn run<T: Number>(&self, _: usize, _: *mut T, _: *mut T, _: std::ops::Range<usize>) {
        match *self {}
    }
}

/// Compiles nothing.
///
/// # Errors
/// Always.
pub fn compile_passes(_: Elem, _: &[PassSource]) -> Result<Passes, CompileError> {
    Err(CompileError::Unsupported)
}

/// Compiled code over lines; none exists on this platform.
#[derive(Debug)]
pub enum Lines {}

impl Lines {
    /// Elements of temporary memory that a piece needs.
    #[must_use]
    pub fn temporary(&self, _: usize) -> usize {
        match *self {}
    }

    /// The machine code.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match *self {}
    }

    /// Runs a piece.
    ///
    /// # Safety
    /// There is nothing to run.
    pub unsafe fn run<T: Number>(&self, _: usize, _: *mut T, _: *mut T, _: *const u32, _: std::ops::Range<usize>) {
        match *self {}
    }
}

/// Compiles nothing.
///
/// # Errors
/// Always.
pub fn compile_lines(_: Elem, _: &[LinesSource]) -> Result<Lines, CompileError> {
    Err(CompileError::Unsupported)
}

/// Compiled straight code; none exists on this platform.
#[derive(Debug)]
pub enum Scalars {}

impl Scalars {
    /// Whether at least two thirds of the instructions are computed four at a time.
    #[must_use]
    pub fn mostly_packed(&self) -> bool {
        match *self {}
    }

    /// Elements of memory that the pieces need.
    #[must_use]
    pub fn memory(&self) -> usize {
        match *self {}
    }

    /// The machine code.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match *self {}
    }

    /// Runs a piece once.
    pub fn run<T: Number>(&self, _: usize, _: &mut [T]) {
        match *self {}
    }
}

/// Compiles nothing.
///
/// # Errors
/// Always.
pub fn compile_scalars<T: Number>(_: &[ScalarSource<'_, T>], _: Effort) -> Result<Scalars, CompileError> {
    Err(CompileError::Unsupported)
}

/// Nothing repeats itself that will not be compiled.
#[must_use]
pub fn repeats<T: Number>(_: &ScalarSource<'_, T>) -> bool {
    false
}
