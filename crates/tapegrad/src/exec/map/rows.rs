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

/// Numbers of a point.
pub(super) fn width(places: &[Place]) -> usize {
    places.iter().map(|place| place.each).sum()
}

/// How many points there are in so many numbers of inputs and of outputs.
pub(super) fn count<T>(mapped: &Mapped<T>, inputs: usize, outputs: usize) -> Result<usize, BindError> {
    let (of_inputs, of_outputs) = (width(&mapped.inputs), width(&mapped.outputs));
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

/// The places of so many columns side by side, if each is one number of a point and has room for all of them.
fn tile(places: &[Place]) -> Option<[usize; TILE]> {
    let mut offsets = [0; TILE];
    for (to, place) in offsets.iter_mut().zip(places.get(..TILE)?) {
        *to = place.offset.filter(|_| place.each == 1 && !place.shared)?;
    }
    Some(offsets)
}

/// Copies points to the places of inputs.
pub(super) fn bring<T: Copy>(places: &[Place], rows: &[T], points: usize, values: &mut [T]) {
    let width = width(places);
    for first in (0..points).step_by(TILE) {
        let some = TILE.min(points - first);
        let rows = &rows[first * width..(first + some) * width];
        let (mut number, mut at) = (0, 0);
        while let Some(place) = places.get(number) {
            match tile(&places[number..]).filter(|_| some == TILE) {
                Some(offsets) => {
                    let lines: [&[T; TILE]; TILE] = std::array::from_fn(|row| {
                        rows[row * width + at..].first_chunk().expect("as many places as numbers")
                    });
                    for (column, offset) in offsets.into_iter().enumerate() {
                        let turned: [T; TILE] = std::array::from_fn(|row| lines[row][column]);
                        values[offset + first..][..TILE].copy_from_slice(&turned);
                    }
                    (number, at) = (number + TILE, at + TILE);
                }
                None => {
                    if let Some(offset) = place.offset {
                        for row in 0..some {
                            let to = &mut values[offset + (first + row) * place.each..][..place.each];
                            to.copy_from_slice(&rows[row * width + at..][..place.each]);
                        }
                    }
                    (number, at) = (number + 1, at + place.each);
                }
            }
        }
    }
}

/// Copies points from the places of outputs.
pub(super) fn take<T: Copy>(places: &[Place], values: &[T], points: usize, rows: &mut [T]) {
    let width = width(places);
    for first in (0..points).step_by(TILE) {
        let some = TILE.min(points - first);
        let rows = &mut rows[first * width..(first + some) * width];
        let (mut number, mut at) = (0, 0);
        while let Some(place) = places.get(number) {
            match tile(&places[number..]).filter(|_| some == TILE) {
                Some(offsets) => {
                    let lines: [&[T; TILE]; TILE] =
                        offsets.map(|offset| values[offset + first..].first_chunk().expect("a place for all points"));
                    for row in 0..TILE {
                        let turned: [T; TILE] = std::array::from_fn(|column| lines[column][row]);
                        rows[row * width + at..][..TILE].copy_from_slice(&turned);
                    }
                    (number, at) = (number + TILE, at + TILE);
                }
                None => {
                    let offset = place.offset.expect("an output has a place");
                    for row in 0..some {
                        let from = if place.shared { offset } else { offset + (first + row) * place.each };
                        rows[row * width + at..][..place.each].copy_from_slice(&values[from..from + place.each]);
                    }
                    (number, at) = (number + 1, at + place.each);
                }
            }
        }
    }
}
