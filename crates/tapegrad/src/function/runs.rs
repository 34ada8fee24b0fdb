//! Numbers that stand all over a state, as runs of places that follow each other, up or down.
//!
//! The inputs of a formula, and its derivatives, mostly stand in a row: a run is copied at once, where number by number would take
//! as long as the machine code in between.

/// Where numbers stand that are side by side elsewhere.
#[derive(Debug, Default)]
pub(super) struct Runs {
    list: Vec<Run>,
    len: usize,
}

/// Numbers from `from` on that stand at `first`, `first + 1`, …, or the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    from: usize,
    /// The lowest place.
    first: usize,
    len: usize,
    down: bool,
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
                Some(run) if place == run.first + run.len && (run.len == 1 || !run.down) => run.len += 1,
                Some(run) if place + 1 == run.first && (run.len == 1 || run.down) => {
                    *run = Run { first: place, len: run.len + 1, down: true, ..*run };
                }
                _ => runs.list.push(Run { from, first: place, len: 1, down: false }),
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
        for &Run { from, first, len, down } in &self.list {
            let (numbers, values) = (&numbers[from..from + len], &mut values[first..first + len]);
            if down {
                values.iter_mut().rev().zip(numbers).for_each(|(to, from)| *to = *from);
            } else {
                values.iter_mut().zip(numbers).for_each(|(to, from)| *to = *from);
            }
        }
    }

    /// Brings numbers side by side; all have a place.
    pub(super) fn gather(&self, values: &[f64], numbers: &mut Vec<f64>) {
        numbers.clear();
        for &Run { first, len, down, .. } in &self.list {
            let values = &values[first..first + len];
            if down {
                numbers.extend(values.iter().rev());
            } else {
                numbers.extend(values);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_and_go_in_runs_up_and_down() {
        let places = [5, 6, 7, 3, 2, 1, 9, 8, 9, 0].map(Some);
        let runs = Runs::new(places);
        let found: Vec<_> = runs.list.iter().map(|run| (run.from, run.first, run.len, run.down)).collect();
        assert_eq!(found, [(0, 5, 3, false), (3, 1, 3, true), (6, 8, 2, true), (8, 9, 1, false), (9, 0, 1, false)]);
        let values: Vec<f64> = (0..10).map(f64::from).collect();
        let mut numbers = vec![-1.0];
        runs.gather(&values, &mut numbers);
        assert_eq!(numbers, places.map(|place| place.map_or(-1.0, |place| values[place])));
        let mut back = vec![-1.0; 10];
        runs.scatter(&numbers, &mut back);
        assert_eq!(back, [0.0, 1.0, 2.0, 3.0, -1.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
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
