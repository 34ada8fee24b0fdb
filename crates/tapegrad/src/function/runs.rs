//! Numbers that stand all over a state, as runs of places that follow each other at one distance.
//!
//! The inputs of a formula, and its derivatives, mostly stand in a row, up or down, or each on a cache line of its own: number by
//! number they would take as long as the machine code in between.

use std::ops::Range;

/// Where numbers stand that are side by side elsewhere.
#[derive(Debug, Default)]
pub(super) struct Runs {
    list: Vec<Run>,
    /// Instead of runs where there are few numbers: of each, which it is and where it stands.
    few: Vec<(usize, usize)>,
    /// Instead of either where all of them stand in a row: where it begins.
    row: Option<usize>,
    len: usize,
}

/// So many numbers take less time one by one than as runs.
const FEW: usize = 12;

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
        let places: Vec<Option<usize>> = places.into_iter().collect();
        let mut runs = Runs { len: places.len(), ..Runs::default() };
        if let Some(&Some(first)) = places.first()
            && (first..).zip(&places).all(|(wanted, &place)| place == Some(wanted))
        {
            runs.row = Some(first);
            return runs;
        }
        let placed = places.into_iter().enumerate().filter_map(|(from, place)| Some((from, place?)));
        if placed.clone().count() <= FEW {
            runs.few = placed.collect();
            return runs;
        }
        for (from, place) in placed {
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

    /// Where the numbers stand, if they are side by side there, too.
    pub(super) fn row(&self) -> Option<Range<usize>> {
        self.row.map(|first| first..first + self.len)
    }

    /// Puts numbers to their places, as many as there are.
    #[inline]
    pub(super) fn scatter(&self, numbers: &[f64], values: &mut [f64]) {
        if let Some(first) = self.row {
            return values[first..first + self.len].copy_from_slice(numbers);
        }
        if !self.list.is_empty() {
            return self.scatter_runs(numbers, values);
        }
        for &(from, place) in &self.few {
            values[place] = numbers[from];
        }
    }

    /// Brings numbers side by side; what has no place stays.
    #[inline]
    pub(super) fn gather(&self, values: &[f64], numbers: &mut [f64]) {
        if let Some(row) = self.row() {
            return numbers.copy_from_slice(&values[row]);
        }
        if !self.list.is_empty() {
            return self.gather_runs(values, numbers);
        }
        for &(to, place) in &self.few {
            numbers[to] = values[place];
        }
    }

    #[inline(never)]
    fn scatter_runs(&self, numbers: &[f64], values: &mut [f64]) {
        for run in &self.list {
            let numbers = &numbers[run.from..run.from + run.len];
            match run.neighbours() {
                Some((places, false)) => values[places].copy_from_slice(numbers),
                Some((places, true)) => values[places].iter_mut().rev().zip(numbers).for_each(|(to, from)| *to = *from),
                None => numbers.iter().enumerate().for_each(|(i, &x)| values[run.place(i)] = x),
            }
        }
    }

    #[inline(never)]
    fn gather_runs(&self, values: &[f64], numbers: &mut [f64]) {
        for run in &self.list {
            let numbers = &mut numbers[run.from..run.from + run.len];
            match run.neighbours() {
                Some((places, false)) => numbers.copy_from_slice(&values[places]),
                Some((places, true)) => {
                    numbers.iter_mut().zip(values[places].iter().rev()).for_each(|(to, from)| *to = *from)
                }
                None => numbers.iter_mut().enumerate().for_each(|(i, to)| *to = values[run.place(i)]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_and_go_in_runs_up_and_down_near_and_far() {
        let places = [5, 6, 7, 3, 2, 1, 0, 4, 8, 9, 10, 11, 12].map(Some);
        let runs = Runs::new(places);
        let found: Vec<_> = runs.list.iter().map(|run| (run.from, run.first, run.len, run.step)).collect();
        assert_eq!(found, [(0, 5, 3, 1), (3, 3, 4, -1), (7, 4, 2, 4), (9, 9, 4, 1)]);
        check(&runs, &places);
    }

    #[test]
    fn few_numbers_come_and_go_one_by_one() {
        let places = [5, 6, 7, 3, 2, 1, 0, 4].map(Some);
        let runs = Runs::new(places);
        assert_eq!((runs.few.len(), runs.list.len()), (8, 0));
        check(&runs, &places);
    }

    fn check(runs: &Runs, places: &[Option<usize>]) {
        let n = places.len();
        let values: Vec<f64> = (0..n).map(|i| i as f64).collect();
        let mut numbers = vec![-1.0; n];
        runs.gather(&values, &mut numbers);
        let want: Vec<f64> = places.iter().map(|place| values[place.expect("all have one")]).collect();
        assert_eq!(numbers, want);
        let mut back = vec![-1.0; n];
        runs.scatter(&numbers, &mut back);
        assert_eq!(back, values);
    }

    #[test]
    fn numbers_without_a_place_are_left_out() {
        for more in [0, 20] {
            let first = [None, Some(4), None, Some(5), Some(6)];
            let runs = Runs::new(first.into_iter().chain((7..7 + more).map(Some)));
            assert_eq!((runs.len(), runs.list.len()), (5 + more, if more > 0 { 2 } else { 0 }));
            let mut values = vec![0.0; 7 + more];
            let numbers: Vec<f64> = (1..=5 + more).map(|i| i as f64).collect();
            runs.scatter(&numbers, &mut values);
            assert_eq!(values[..7], [0.0, 0.0, 0.0, 0.0, 2.0, 4.0, 5.0]);
            assert_eq!(values[7..], numbers[5..]);
        }
    }
}
