//! Points in rows, turned into the columns of a state and back.
//!
//! ```text
//!   x y z        x x x
//!   x y z  ◀──▶  y y y
//!   x y z        z z z
//! ```
//!
//! As many rows as a line of the cache has numbers are gone through side by side from the front to the back, streams that the CPU
//! fetches ahead, and of each column a whole line is written.

use crate::error::BindError;
use crate::program::{Mapped, Place};

/// Points, and columns, that are turned at a time: a line of the cache in double precision.
const TILE: usize = 8;

/// Where the numbers of a point stand: in its row, and in a state.
#[derive(Debug)]
pub(super) struct Rows {
    /// Numbers of a row.
    pub(super) width: usize,
    /// Columns that are turned together, each one number of a point.
    tiles: Vec<Tile>,
    others: Vec<Other>,
}

#[derive(Debug)]
struct Tile {
    /// Where they begin in a row.
    at: usize,
    offsets: [usize; TILE],
}

#[derive(Debug)]
struct Other {
    /// Where it begins in a row.
    at: usize,
    offset: usize,
    each: usize,
    /// Whether all points share it.
    shared: bool,
}

impl Rows {
    pub(super) fn of(places: &[Place]) -> Rows {
        let mut rows = Rows { width: 0, tiles: Vec::new(), others: Vec::new() };
        let mut left = places;
        while let Some((place, rest)) = left.split_first() {
            let at = rows.width;
            if let Some(offsets) = tile(left) {
                rows.tiles.push(Tile { at, offsets });
                (left, rows.width) = (&left[TILE..], at + TILE);
                continue;
            }
            if let Some(offset) = place.offset {
                rows.others.push(Other { at, offset, each: place.each, shared: place.shared });
            }
            (left, rows.width) = (rest, at + place.each);
        }
        rows
    }

    /// Copies points to the places of inputs.
    pub(super) fn bring<T: Copy>(&self, rows: &[T], points: usize, values: &mut [T]) {
        let (width, whole) = (self.width, points / TILE * TILE);
        for first in (0..whole).step_by(TILE) {
            for tile in &self.tiles {
                let lines: [&[T; TILE]; TILE] = std::array::from_fn(|row| line(rows, (first + row) * width + tile.at));
                for (column, offset) in tile.offsets.into_iter().enumerate() {
                    let turned: [T; TILE] = std::array::from_fn(|row| lines[row][column]);
                    values[offset + first..][..TILE].copy_from_slice(&turned);
                }
            }
        }
        for (column, at) in self.tiles.iter().flat_map(Tile::columns) {
            (whole..points).for_each(|point| values[column + point] = rows[point * width + at]);
        }
        for &Other { at, offset, each, .. } in &self.others {
            if each == 1 {
                let column = &mut values[offset..offset + points];
                column.iter_mut().enumerate().for_each(|(point, to)| *to = rows[point * width + at]);
            } else {
                for point in 0..points {
                    values[offset + point * each..][..each].copy_from_slice(&rows[point * width + at..][..each]);
                }
            }
        }
    }

    /// Copies points from the places of outputs.
    pub(super) fn take<T: Copy>(&self, values: &[T], points: usize, rows: &mut [T]) {
        let (width, whole) = (self.width, points / TILE * TILE);
        for first in (0..whole).step_by(TILE) {
            for tile in &self.tiles {
                let lines: [&[T; TILE]; TILE] = tile.offsets.map(|offset| line(values, offset + first));
                for row in 0..TILE {
                    let turned: [T; TILE] = std::array::from_fn(|column| lines[column][row]);
                    rows[(first + row) * width + tile.at..][..TILE].copy_from_slice(&turned);
                }
            }
        }
        for (column, at) in self.tiles.iter().flat_map(Tile::columns) {
            (whole..points).for_each(|point| rows[point * width + at] = values[column + point]);
        }
        for &Other { at, offset, each, shared } in &self.others {
            if each == 1 && !shared {
                let column = &values[offset..offset + points];
                column.iter().enumerate().for_each(|(point, &x)| rows[point * width + at] = x);
            } else {
                for point in 0..points {
                    let from = if shared { offset } else { offset + point * each };
                    rows[point * width + at..][..each].copy_from_slice(&values[from..from + each]);
                }
            }
        }
    }
}

impl Tile {
    /// Its columns: where each stands in a state, and in a row.
    fn columns(&self) -> impl Iterator<Item = (usize, usize)> {
        self.offsets.into_iter().zip(self.at..)
    }
}

/// The places of so many columns side by side, if each is one number of a point.
fn tile(places: &[Place]) -> Option<[usize; TILE]> {
    let mut offsets = [0; TILE];
    for (to, place) in offsets.iter_mut().zip(places.get(..TILE)?) {
        *to = place.offset.filter(|_| place.each == 1 && !place.shared)?;
    }
    Some(offsets)
}

fn line<T>(numbers: &[T], start: usize) -> &[T; TILE] {
    numbers[start..].first_chunk().expect("rows are whole, and a column has room for all points")
}

/// Points in rows, of inputs and of outputs.
#[derive(Debug)]
pub(super) struct InRows {
    pub(super) inputs: Rows,
    pub(super) outputs: Rows,
}

impl InRows {
    pub(super) fn of<T>(mapped: &Mapped<T>) -> InRows {
        InRows { inputs: Rows::of(&mapped.inputs), outputs: Rows::of(&mapped.outputs) }
    }

    /// How many points there are in so many numbers of inputs and of outputs.
    pub(super) fn count(&self, inputs: usize, outputs: usize) -> Result<usize, BindError> {
        let (of_inputs, of_outputs) = (self.inputs.width, self.outputs.width);
        let points = inputs.checked_div(of_inputs).or(outputs.checked_div(of_outputs)).unwrap_or(0);
        for (what, found, each) in [("inputs", inputs, of_inputs), ("outputs", outputs, of_outputs)] {
            if points.checked_mul(each) != Some(found) {
                return Err(BindError::new(format!(
                    "expected {each} numbers of {what} for each of {points} points, found {found}"
                )));
            }
        }
        Ok(points)
    }
}
