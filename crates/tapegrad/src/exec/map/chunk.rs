//! Chunk by chunk: numbers in, the program, numbers out, and the branches of each point.
//!
//! Machine code reads and writes whole chunks where the caller has them; all else is copied.

use super::columns::{In, Inputs, Out, Outputs};
use crate::error::BranchChange;
use crate::exec::element::Element;
use crate::exec::replay::{changed, replay_rows};
use crate::exec::state::State;
use crate::ir::{Comparison, Reading};
use crate::program::{Mapped, Place, PointGuard};
use std::ops::Range;
use tapegrad_jit::{Column, Elsewhere, LANES};

/// The points whose branches come out otherwise.
#[derive(Default)]
pub(super) struct Refused {
    pub(super) points: usize,
    pub(super) first: Option<(usize, BranchChange)>,
}

impl Refused {
    pub(super) fn join(&mut self, other: Refused) {
        self.points += other.points;
        if let Some((at, change)) = other.first
            && self.first.as_ref().is_none_or(|&(first, _)| at < first)
        {
            self.first = Some((at, change));
        }
    }
}

/// Computes some points; `outputs` are their part.
pub(super) fn run_piece<T: Element>(
    mapped: &Mapped<T>,
    state: &mut State<T>,
    points: Range<usize>,
    inputs: &Inputs<'_, T>,
    outputs: &mut Outputs<'_, T>,
) -> Refused {
    let mut refused = Vec::new();
    let mut first = None;
    let mut chunk = Chunk { mapped, start: points.start, first: 0, len: mapped.points };
    if let (Inputs::Columns(inputs), Outputs::Columns(outputs)) = (inputs, &mut *outputs) {
        chunk.run_whole(state, points.len(), inputs, outputs, &mut refused, &mut first);
    }
    // What is left, points in rows, and programs of other steps, with all columns in the state.
    let code = mapped.program.0.code_with_columns();
    let mut rows = None;
    while chunk.start < points.end {
        chunk.len = mapped.points.min(points.end - chunk.start);
        chunk.bring_all(inputs, state.values_mut());
        match code {
            Some(code) => {
                let rows = rows.get_or_insert_with(|| Elsewhere::new(code, usize::MAX, []));
                replay_rows(&mapped.program, state, rows);
            }
            None => mapped.program.replay(state).expect("the state is the program's, which has no guards of its own"),
        }
        let values = state.values();
        chunk.take_all(outputs, values);
        chunk.refuse(|_| None, values, &mut refused, &mut first);
        chunk.go_on();
    }
    let nan = T::from_f64(f64::NAN);
    for stretch in &refused {
        match outputs {
            Outputs::Columns(columns) => {
                for (place, column) in mapped.outputs.iter().zip(columns) {
                    column.fill(stretch.start * place.each, stretch.len() * place.each, nan);
                }
            }
            Outputs::Rows(numbers, rows) => {
                numbers[stretch.start * rows.width..stretch.end * rows.width].fill(nan);
            }
        }
    }
    Refused { points: refused.iter().map(Range::len).sum(), first }
}

/// Points that are computed side by side.
struct Chunk<'a, T> {
    mapped: &'a Mapped<T>,
    /// Where they begin in the columns of inputs, and in those of outputs.
    start: usize,
    first: usize,
    len: usize,
}

impl<T: Element> Chunk<'_, T> {
    fn go_on(&mut self) {
        self.start += self.len;
        self.first += self.len;
    }

    /// Computes all whole chunks of so many points, if it is machine code, that does whole vectors, that computes them.
    fn run_whole(
        &mut self,
        state: &mut State<T>,
        points: usize,
        inputs: &[In<'_, T>],
        outputs: &mut [Out<'_, T>],
        refused: &mut Vec<Range<usize>>,
        first: &mut Option<(usize, BranchChange)>,
    ) {
        let Some(code) = self.mapped.program.0.code_with_columns() else { return };
        let (chunks, all) = (points / self.len, points / self.len * self.len);
        if chunks == 0 || !self.len.is_multiple_of(LANES) {
            return;
        }
        let apart = |place: &Place, column: &In<'_, T>| place.column.is_some() && column.slice(0, 0).is_some();
        let reads = self
            .mapped
            .inputs
            .iter()
            .zip(inputs)
            .filter_map(|(place, column)| Some((place.column?, Column::Read(column.slice(self.start, all)?))));
        let mut columns: Vec<_> = reads.collect();
        let mut copied_out = Vec::new();
        for (place, column) in self.mapped.outputs.iter().zip(outputs) {
            match (place.column, column) {
                (Some(number), Out::Slice(rows)) => columns.push((number, Column::Write(&mut rows[..all]))),
                (_, column) => copied_out.push((place, column)),
            }
        }
        let copied_in: Vec<_> =
            self.mapped.inputs.iter().zip(inputs).filter(|(place, column)| !apart(place, column)).collect();
        let mut elsewhere = Elsewhere::new(code, chunks, columns);
        for _ in 0..chunks {
            copied_in.iter().for_each(|(place, column)| self.bring(place, column, state.values_mut()));
            replay_rows(&self.mapped.program, state, &mut elsewhere);
            let values = state.values();
            copied_out.iter_mut().for_each(|(place, column)| self.take(place, column, values));
            let side = |input: usize| {
                let (place, column) = (&self.mapped.inputs[input], &inputs[input]);
                place.column.and_then(|_| column.slice(self.start, self.len))
            };
            self.refuse(side, values, refused, first);
            self.go_on();
        }
    }

    /// Copies the chunk's part of all inputs.
    fn bring_all(&self, inputs: &Inputs<'_, T>, values: &mut [T]) {
        let places = &self.mapped.inputs;
        match inputs {
            Inputs::Columns(columns) => {
                places.iter().zip(columns).for_each(|(place, column)| self.bring(place, column, values));
            }
            Inputs::Rows(numbers, rows) => {
                let part = &numbers[self.start * rows.width..(self.start + self.len) * rows.width];
                rows.bring(part, self.len, values);
                places.iter().for_each(|place| self.repeat_last(place, values));
            }
        }
    }

    /// Copies the chunk's part of all outputs.
    fn take_all(&self, outputs: &mut Outputs<'_, T>, values: &[T]) {
        let places = &self.mapped.outputs;
        match outputs {
            Outputs::Columns(columns) => {
                places.iter().zip(columns).for_each(|(place, column)| self.take(place, column, values));
            }
            Outputs::Rows(numbers, rows) => {
                let part = &mut numbers[self.first * rows.width..(self.first + self.len) * rows.width];
                rows.take(values, self.len, part);
            }
        }
    }

    /// Copies the chunk's part of a column of inputs.
    fn bring(&self, place: &Place, column: &In<'_, T>, values: &mut [T]) {
        if let (Some(offset), each) = (place.offset, place.each) {
            column.read(self.start * each, &mut values[offset..offset + self.len * each]);
            self.repeat_last(place, values);
        }
    }

    /// Lanes without a point compute the last one again.
    fn repeat_last(&self, place: &Place, values: &mut [T]) {
        if let (Some(offset), each) = (place.offset, place.each) {
            let room = &mut values[offset..offset + self.mapped.points * each];
            for i in self.len * each..room.len() {
                room[i] = room[i - each];
            }
        }
    }

    /// Copies the chunk's part of a column of outputs.
    fn take(&self, place: &Place, column: &mut Out<'_, T>, values: &[T]) {
        let offset = place.offset.expect("an output has a place");
        if place.shared {
            let value = &values[offset..offset + place.each];
            (0..self.len).for_each(|i| column.write((self.first + i) * place.each, value));
        } else {
            column.write(self.first * place.each, &values[offset..offset + self.len * place.each]);
        }
    }

    /// Adds to `refused`, stretch by stretch, the points that take another branch, and what changes for the first of all.
    fn refuse<'c>(
        &self,
        input: impl Fn(usize) -> Option<&'c [T]>,
        values: &'c [T],
        refused: &mut Vec<Range<usize>>,
        first: &mut Option<(usize, BranchChange)>,
    ) {
        let guards = &self.mapped.guards;
        let sides = |guard: &PointGuard| {
            guard.sides.map(|side| {
                let stands = || &values[side.place..side.place + if side.each { self.len } else { 1 }];
                side.input.and_then(&input).unwrap_or_else(stands)
            })
        };
        let hold = |guard: &PointGuard| {
            let [a, b] = sides(guard);
            hold(guard.check.comparison, a, b)
        };
        if guards.iter().all(hold) {
            return;
        }
        for point in 0..self.len {
            let change = guards.iter().find_map(|guard| {
                let [a, b] = sides(guard).map(|side| side[point.min(side.len() - 1)]);
                let now = guard.check.comparison.ask(a, b);
                (now != guard.check.comparison).then_some((&guard.check, now, [a, b]))
            });
            if let Some((check, now, [a, b])) = change {
                let point = self.first + point;
                match refused.last_mut() {
                    Some(stretch) if stretch.end == point => stretch.end += 1,
                    _ => refused.push(point..point + 1),
                }
                // Only of the first one is it said what changed, which allocates.
                first.get_or_insert_with(|| (self.start - self.first + point, changed(check, now, a, b)));
            }
        }
    }
}

/// Whether a comparison comes out as recorded for all points. Most do, so there is no early end.
fn hold<T: Reading>(comparison: Comparison, a: &[T], b: &[T]) -> bool {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: this CPU has AVX2.
        return unsafe { hold_avx2(comparison, a, b) };
    }
    hold_portable(comparison, a, b)
}

/// [`hold_portable`], compiled for CPUs with AVX2.
///
/// # Safety
/// The CPU must have AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn hold_avx2<T: Reading>(comparison: Comparison, a: &[T], b: &[T]) -> bool {
    hold_portable(comparison, a, b)
}

#[inline(always)]
fn hold_portable<T: Reading>(comparison: Comparison, a: &[T], b: &[T]) -> bool {
    use Comparison::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual, Order};
    match comparison {
        Less(wanted) => all(wanted, a, b, |a, b| a < b),
        LessEqual(wanted) => all(wanted, a, b, |a, b| a <= b),
        Greater(wanted) => all(wanted, a, b, |a, b| a > b),
        GreaterEqual(wanted) => all(wanted, a, b, |a, b| a >= b),
        Equal(wanted) => all(wanted, a, b, |a, b| a == b),
        NotEqual(wanted) => all(wanted, a, b, |a, b| a != b),
        Order(wanted) => all(true, a, b, |a, b| a.partial_cmp(&b) == wanted),
    }
}

/// Whether all pairs, or all numbers of one side with the one of the other, compare as wanted.
#[inline(always)]
fn all<T: Copy>(wanted: bool, a: &[T], b: &[T], is: impl Fn(T, T) -> bool) -> bool {
    match (wanted, a, b) {
        (true, _, &[b]) => a.iter().fold(true, |all, &a| all & is(a, b)),
        (true, &[a], _) => b.iter().fold(true, |all, &b| all & is(a, b)),
        (true, ..) => a.iter().zip(b).fold(true, |all, (&a, &b)| all & is(a, b)),
        (false, _, &[b]) => !a.iter().fold(false, |any, &a| any | is(a, b)),
        (false, &[a], _) => !b.iter().fold(false, |any, &b| any | is(a, b)),
        (false, ..) => !a.iter().zip(b).fold(false, |any, (&a, &b)| any | is(a, b)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Ordering;

    /// What each comparison gives, both ways, for pairs and beside one number, against asking pair by pair.
    fn check<T: Reading>() {
        use Comparison::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual, Order};
        let kinds = [Less, LessEqual, Greater, GreaterEqual, Equal, NotEqual];
        let truths = kinds.into_iter().flat_map(|kind| [kind(true), kind(false)]);
        let orders = [Some(Ordering::Less), Some(Ordering::Equal), Some(Ordering::Greater), None].map(Order);
        let numbers = [0.0, -0.0, 1.0, f64::NAN, f64::INFINITY].map(T::from_f64);
        for comparison in truths.chain(orders) {
            let held = |a: T, b: T| comparison.ask(a, b) == comparison;
            for (x, y) in numbers.into_iter().flat_map(|x| numbers.map(|y| (x, y))) {
                for (len, odd) in [(1, 0), (7, 6), (33, 16), (33, 32)] {
                    for (u, w) in numbers.into_iter().flat_map(|u| numbers.map(|w| (u, w))) {
                        let (mut a, mut b) = (vec![x; len], vec![y; len]);
                        (a[odd], b[odd]) = (u, w);
                        let wanted = (0..len).all(|i| held(a[i], b[i]));
                        for hold in [hold::<T>, hold_portable::<T>] {
                            assert_eq!(hold(comparison, &a, &b), wanted, "{comparison:?}");
                            assert_eq!(hold(comparison, &a, &[y]), (0..len).all(|i| held(a[i], y)), "{comparison:?}");
                            assert_eq!(hold(comparison, &[x], &b), (0..len).all(|i| held(x, b[i])), "{comparison:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_comparison_holds_if_it_does_for_every_point() {
        check::<f32>();
        check::<f64>();
    }
}
