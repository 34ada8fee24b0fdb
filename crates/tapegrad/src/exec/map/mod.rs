//! One program over many points: columns in, columns out.
//!
//! ```text
//!   columns   x ▭▭▭▭▭▭▭▭▭▭▭▭      chunk by chunk          y ▭▭▭▭▭▭▭▭▭▭▭▭
//!             k ▭▭▭▭▭▭▭▭▭▭▭▭ ──▶  ▭▭▭ state, program ──▶ dx ▭▭▭▭▭▭▭▭▭▭▭▭
//!                 piece 0 │ piece 1 │ …  one thread each
//! ```
//!
//! Points in rows, all numbers of one side by side, are turned into columns and back a chunk at a time.
//!
//! A chunk is as many points as the caches hold; the program computes them side by side. A thread begins with a part of the
//! columns of its own, with two threads the same at every run, for that may still be in its cache, and then takes pieces
//! that others have left. What a point gives depends neither on its place nor on who computes it.

mod chunk;
mod columns;
mod rows;

use super::element::Element;
use super::state::State;
use super::threads::{Apart, MOST, Team};
use crate::error::{BindError, CompileError, MapError};
use crate::ir::{Tape, Var};
use crate::program::{CompileOptions, Mapped, Place, Program};
use chunk::{Refused, run_piece};
use columns::{In, Inputs, Out, Outputs};
use rows::InRows;
use std::ops::Range;
use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// Pieces of the columns for each thread at most, so that one that is held up does not hold up all.
const PIECES_PER_THREAD: usize = 8;
/// About so many chunks in a piece at least, if there are as many for each thread: to begin a piece costs about as much as a chunk
/// of a formula of as many columns as operations.
const CHUNKS_PER_PIECE: usize = 4;

/// A program that is computed for many points at a time, with the memory to do so. Made by [`Tape::compile_map`].
///
/// A point is one value of each mapped input; all other inputs, and the parameters, are the same for all points
/// ([`Map::set`], [`Map::set_index`]). A clone shares the program and has memory and threads of its own.
#[derive(Clone, Debug)]
pub struct Map<T> {
    mapped: Arc<Mapped<T>>,
    /// How points in rows are turned into columns.
    rows: Arc<InRows>,
    /// One for each thread.
    states: Vec<State<T>>,
    team: Option<Team>,
}

impl Tape {
    /// Compiles `outputs` for evaluation at many points, which differ in the values of `inputs`: the value of a formula,
    /// its gradient, any rows of a Jacobian. Assignments are not carried out.
    ///
    /// Scans, systems of equations and kernels of the user's own are called for each point; all else is computed side by side.
    ///
    /// # Errors
    /// If there is no input, one is not an input or parameter of real numbers or is given twice, an output is not valid, or an
    /// operation makes indices that differ from point to point, takes more than 8 operands with a kernel of its own, or has more
    /// than 8 dimensions with the axis of points.
    ///
    /// ```
    /// use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let (x, k) = (tape.input(0.0), tape.input(2.0));
    /// let y = k * x.square();
    /// let dy = tape.grad(y, &[x])[0];
    /// let mut map = tape.compile_map::<f64>(&[x], &[y, dy])?;
    /// let (mut values, mut slopes) = ([0.0; 3], [0.0; 3]);
    /// map.run(&[&[1.0, 2.0, 3.0]], &mut [&mut values, &mut slopes])?;
    /// assert_eq!((values, slopes), ([2.0, 8.0, 18.0], [4.0, 8.0, 12.0]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn compile_map<T: Element>(&self, inputs: &[Var], outputs: &[Var]) -> Result<Map<T>, CompileError> {
        self.compile_map_with(inputs, outputs, &CompileOptions::default())
    }

    /// [`Tape::compile_map`] with options.
    ///
    /// # Errors
    /// As [`Tape::compile_map`].
    #[track_caller]
    pub fn compile_map_with<T: Element>(
        &self,
        inputs: &[Var],
        outputs: &[Var],
        options: &CompileOptions,
    ) -> Result<Map<T>, CompileError> {
        let mapped = self.compile_mapped(inputs, outputs, options, Location::caller())?;
        let states = vec![mapped.program.state()];
        let rows = Arc::new(InRows::of(&mapped));
        Ok(Map { mapped: Arc::new(mapped), rows, states, team: None })
    }
}

impl<T: Element> Map<T> {
    /// Lets `threads` threads, the caller's included, share the points. The results are the same bit for bit, whatever the
    /// number. 1, the default, is no threads at all.
    ///
    /// # Errors
    /// If `threads` is 0 or more than 4096, or the system refuses to start a thread; the map is then as it was.
    pub fn set_threads(&mut self, threads: usize) -> Result<(), BindError> {
        if threads == 0 || threads > MOST {
            return Err(BindError::new(format!("expected 1 to {MOST} threads, found {threads}")));
        }
        self.team = if threads > 1 {
            let team = Team::new(threads);
            Some(team.map_err(|error| BindError::new(format!("{threads} threads cannot be started: {error}")))?)
        } else {
            None
        };
        self.states.truncate(threads);
        while self.states.len() < threads {
            self.states.push(self.states[0].clone());
        }
        Ok(())
    }

    /// How many threads share the points.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.states.len()
    }

    /// How many points are computed side by side.
    #[must_use]
    pub fn points_at_once(&self) -> usize {
        self.mapped.points
    }

    /// The program for that many points, for looking at. (Replayed by itself it allocates a table of its columns.)
    #[must_use]
    pub fn program(&self) -> &Program<T> {
        &self.mapped.program
    }

    /// Sets an input or a parameter that is the same for all points.
    ///
    /// # Errors
    /// If the number of elements does not fit, or the value is none of these; if it is mapped, it is given to
    /// [`Map::run`].
    pub fn set(&mut self, var: Var, data: &[T]) -> Result<(), BindError> {
        // (By its handle: what has no elements may share its place with a neighbour.)
        if self.states[0].place(var).is_some() && self.mapped.maps(var) {
            return Err(BindError::new("a mapped input is set by the columns given to `run`"));
        }
        self.states.iter_mut().try_for_each(|state| state.set(var, data))
    }

    /// Sets an index input, which is the same for all points.
    ///
    /// # Errors
    /// If the number of indices does not fit, an index is not below the number of rows it picks from, or the value is not
    /// an index input that the outputs depend on. Nothing is changed then.
    pub fn set_index(&mut self, var: Var, data: &[usize]) -> Result<(), BindError> {
        self.states.iter_mut().try_for_each(|state| state.set_index(var, data))
    }

    /// Computes all points: `inputs` are the columns of the mapped inputs and `outputs` those of the outputs, both in the
    /// order given to [`Tape::compile_map`]. A column holds one number for each point, or, for a value of another shape, its
    /// elements in row-major order, point after point. Nothing is allocated for a chunk, but a list of the stretches of points that are refused.
    ///
    /// A point has no influence on another, not even as NaN.
    ///
    /// # Errors
    /// If the columns do not fit, or some points take another branch than the recorded one; the outputs of those are NaN
    /// then, and all others are computed.
    pub fn run(&mut self, inputs: &[&[T]], outputs: &mut [&mut [T]]) -> Result<(), MapError> {
        let inputs = inputs.iter().map(|column| In::Slice(column)).collect();
        self.run_columns(inputs, outputs.iter_mut().map(|column| Out::Slice(column)).collect())
    }

    /// [`Map::run`] on one-dimensional views, which need not be contiguous: columns of a matrix of points, for example.
    ///
    /// # Errors
    /// As [`Map::run`].
    #[cfg(feature = "ndarray")]
    pub fn run_views(
        &mut self,
        inputs: &[ndarray::ArrayView1<'_, T>],
        outputs: Vec<ndarray::ArrayViewMut1<'_, T>>,
    ) -> Result<(), MapError> {
        let inputs = inputs.iter().map(|column| In::of_view(column)).collect();
        self.run_columns(inputs, outputs.into_iter().map(Out::of_view).collect())
    }

    /// [`Map::run`] on points in rows: `inputs` holds the numbers of the first point, those of all mapped inputs in the order given to
    /// [`Tape::compile_map`], then those of the second, and `outputs` likewise. This is a matrix of points as most programs have it. With
    /// a thousand inputs it is faster than as many columns; with a hundred and fewer, columns are, by a tenth to a third
    /// (more where a point takes few operations).
    ///
    /// # Errors
    /// If the slices are not as many whole points, or as [`Map::run`] for points of another branch.
    ///
    /// ```
    /// use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let (x, y) = (tape.input(0.0), tape.input(0.0));
    /// let gradient = tape.grad(x * x * y, &[x, y]);
    /// let mut map = tape.compile_map::<f64>(&[x, y], &gradient)?;
    /// let points = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];
    /// let mut gradients = [[0.0; 2]; 3];
    /// map.run_rows(points.as_flattened(), gradients.as_flattened_mut())?;
    /// assert_eq!(gradients, [[4.0, 1.0], [24.0, 9.0], [60.0, 25.0]]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run_rows(&mut self, inputs: &[T], outputs: &mut [T]) -> Result<(), MapError> {
        let rows = Arc::clone(&self.rows);
        let count = rows.count(inputs.len(), outputs.len()).map_err(MapError::Columns)?;
        self.run_points(&Inputs::Rows(inputs, &rows.inputs), Outputs::Rows(outputs, &rows.outputs), count)
    }

    fn run_columns(&mut self, inputs: Vec<In<'_, T>>, outputs: Vec<Out<'_, T>>) -> Result<(), MapError> {
        let count = self.count(&inputs, &outputs).map_err(MapError::Columns)?;
        self.run_points(&Inputs::Columns(inputs), Outputs::Columns(outputs), count)
    }

    fn run_points(&mut self, inputs: &Inputs<'_, T>, outputs: Outputs<'_, T>, count: usize) -> Result<(), MapError> {
        let (mapped, chunk) = (&*self.mapped, self.mapped.points);
        let chunks = count.div_ceil(chunk);
        let refused = match &mut self.team {
            Some(team) if chunks > 1 => {
                let threads = team.threads();
                let each = (chunks / (threads * CHUNKS_PER_PIECE)).clamp(1, PIECES_PER_THREAD);
                let size = chunks.div_ceil(threads * each) * chunk;
                let pieces: Vec<_> = pieces(mapped, count, size, outputs).into_iter().map(Mutex::new).collect();
                let states: Vec<_> = self.states.iter_mut().map(Mutex::new).collect();
                let parts = states.len().min(chunks);
                let share = pieces.len().div_ceil(parts);
                let taken: Vec<_> = (0..parts).map(|_| Apart(AtomicUsize::new(0))).collect();
                let total = Mutex::new(Refused::default());
                team.run(parts, &|_, part| {
                    let mut state = states[part].lock().unwrap_or_else(PoisonError::into_inner);
                    for owner in (part..parts).chain(0..part) {
                        let own = &pieces[(owner * share).min(pieces.len())..((owner + 1) * share).min(pieces.len())];
                        while let Some(piece) = own.get(taken[owner].0.fetch_add(1, Relaxed)) {
                            let (points, outputs) = &mut *piece.lock().unwrap_or_else(PoisonError::into_inner);
                            let refused = run_piece(mapped, &mut state, points.clone(), inputs, outputs);
                            total.lock().unwrap_or_else(PoisonError::into_inner).join(refused);
                        }
                    }
                });
                total.into_inner().unwrap_or_else(PoisonError::into_inner)
            }
            _ => {
                let mut outputs = outputs;
                run_piece(mapped, &mut self.states[0], 0..count, inputs, &mut outputs)
            }
        };
        match refused.first {
            None => Ok(()),
            Some((first, change)) => Err(MapError::BranchChanged { points: refused.points, first, change }),
        }
    }

    /// The number of points, if all columns have it.
    fn count(&self, inputs: &[In<'_, T>], outputs: &[Out<'_, T>]) -> Result<usize, BindError> {
        let of = |what: &str, places: &[Place], found: usize| {
            let wanted = places.len();
            if wanted == found {
                return Ok(());
            }
            Err(BindError::new(format!("expected {wanted} columns of {what}, found {found}")))
        };
        of("inputs", &self.mapped.inputs, inputs.len())?;
        of("outputs", &self.mapped.outputs, outputs.len())?;
        let columns = self.mapped.inputs.iter().zip(inputs.iter().map(In::len));
        let columns = columns.chain(self.mapped.outputs.iter().zip(outputs.iter().map(Out::len)));
        let mut count = None;
        for (place, len) in columns {
            if place.each == 0 {
                if len > 0 {
                    let title = &place.title;
                    return Err(BindError::new(format!("the column of {title} has {len} numbers, expected none")));
                }
                continue;
            }
            let points = len / place.each;
            let wanted = *count.get_or_insert(points);
            if wanted * place.each != len {
                let (title, numbers) = (&place.title, wanted * place.each);
                return Err(BindError::new(format!(
                    "the column of {title} has {len} numbers, expected {numbers} for {wanted} points"
                )));
            }
        }
        Ok(count.unwrap_or(0))
    }
}

/// The outputs cut into pieces of `size` points.
fn pieces<'a, T: Element>(
    mapped: &Mapped<T>,
    count: usize,
    size: usize,
    outputs: Outputs<'a, T>,
) -> Vec<(Range<usize>, Outputs<'a, T>)> {
    let mut left = Some(outputs);
    let cut = |start: usize| {
        let end = count.min(start + size);
        let (piece, rest) = left.take().expect("put back at each piece").split_at(&mapped.outputs, end - start);
        left = Some(rest);
        (start..end, piece)
    };
    (0..count).step_by(size).map(cut).collect()
}
