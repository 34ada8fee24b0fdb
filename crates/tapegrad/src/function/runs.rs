//! Numbers that stand all over a state, as runs of places that follow each other at one distance.
//!
//! The inputs of a formula, and its derivatives, mostly stand in a row, up or down, or each on a cache line of its own: number by
//! number they would take as long as the machine code in between.

/// Where numbers stand that are side by side elsewhere.
#[derive(Debug, Default)]
pub(super) struct Runs {
    list: Vec<Run>,
    len: usize,
}

/// Numbers from `from` on that stand at `first`, `first + step`, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    from: usize,
    first: usize,
    len: usize,
    step: isize,
}

impl Run {
    fn place(&self, i: usize) -> usize {
        // `i` and places are below the length of a vector, which an `isize` holds.
        self.first.wrapping_add_signed(self.step.wrapping_mul(i.cast_signed()))
    }

    /// All places, if they are neighbours; their lowest first.
    fn neighbours(&self) -> Option<(std::ops::Range<usize>, bool)> {
        match self.step {
            1 => Some((self.first..self.first + self.len, false)),
            -1 => Some((self.first + 1 - self.len..self.first + 1, true)),
            _ => None,
        }
    }
}

impl Runs {
    /// Numbers without a place are left out.
    pub(super) fn new(places: impl IntoIterator<Item = Option<usize>>) -> Runs {
        let mut runs = Runs::default();
        for place in places {
            let from = runs.len;
            runs.len += 1;
            let Some(place) = place else { continue };
            match runs.list.last_mut().filter(|run| run.from + run.len == from) {
                Some(run) if run.len > 1 && place == run.place(run.len) => run.len += 1,
                Some(run) if run.len == 1 => {
                    (run.len, run.step) = (2, place.cast_signed() - run.first.cast_signed());
                }
                _ => runs.list.push(Run { from, first: place, len: 1, step: 1 }),
            }
        }
        runs
    }

    /// How many numbers there are, those without a place included.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Puts numbers to their places.
    pub(super) fn scatter(&self, numbers: &[f64], values: &mut [f64]) {
        for run in &self.list {
            let numbers = &numbers[run.from..run.from + run.len];
            match run.neighbours() {
                Some((places, false)) => values[places].copy_from_slice(numbers),
                Some((places, true)) => values[places].iter_mut().rev().zip(numbers).for_each(|(to, from)| *to = *from),
                None => numbers.iter().enumerate().for_each(|(i, &x)| values[run.place(i)] = x),
            }
        }
    }

    /// Brings numbers side by side; all have a place.
    pub(super) fn gather(&self, values: &[f64], numbers: &mut Vec<f64>) {
        numbers.clear();
        for run in &self.list {
            match run.neighbours() {
                Some((places, false)) => numbers.extend_from_slice(&values[places]),
                Some((places, true)) => numbers.extend(values[places].iter().rev()),
                None => numbers.extend((0..run.len).map(|i| values[run.place(i)])),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_and_go_in_runs_up_and_down_near_and_far() {
        let places = [5, 6, 7, 3, 2, 1, 0, 4, 8, 9].map(Some);
        let runs = Runs::new(places);
        let found: Vec<_> = runs.list.iter().map(|run| (run.from, run.first, run.len, run.step)).collect();
        assert_eq!(found, [(0, 5, 3, 1), (3, 3, 4, -1), (7, 4, 2, 4), (9, 9, 1, 1)]);
        let values: Vec<f64> = (0..10).map(f64::from).collect();
        let mut numbers = vec![-1.0];
        runs.gather(&values, &mut numbers);
        assert_eq!(numbers, places.map(|place| place.map_or(-1.0, |place| values[place])));
        let mut back = vec![-1.0; 10];
        runs.scatter(&numbers, &mut back);
        assert_eq!(back, values);
    }

    #[test]
    fn numbers_without_a_place_are_left_out() {
        let runs = Runs::new([None, Some(4), None, Some(5), Some(6)]);
        assert_eq!((runs.len(), runs.list.len()), (5, 2));
        let mut values = vec![0.0; 7];
        runs.scatter(&[1.0, 2.0, 3.0, 4.0, 5.0], &mut values);
        assert_eq!(values, [0.0, 0.0, 0.0, 0.0, 2.0, 4.0, 5.0]);
    }
}
