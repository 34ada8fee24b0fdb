//! Which turns of a stretch are a loop, and where the units of a turn go.

use super::{Course, Courses, Emitter, Home, Loop};
use crate::scalars::pack::groups::LANES;
use crate::scalars::pack::region::NOWHERE;
use crate::scalars::pack::turns::{FEWEST, LONGEST, MOST_NAMES, Name, Stretch};
use crate::scalars::pack::units::{Reads, Unit};

/// As many turns at a time at most, so that what is handed on goes to the next.
const MOST_AT_A_TIME: u32 = 8;

impl Emitter<'_> {
    /// What the unit at a position of a turn names in this turn and the next; nothing if it is no loop there.
    fn courses(&self, order: &[Unit], stretch: Stretch, at: &[u32], turn: usize, position: usize) -> Option<Courses> {
        let Stretch { start, period, .. } = stretch;
        let here = start + turn * period + position;
        let (this, next) = (self.names(order[here]), self.names(order[here + period]));
        if this.op != next.op || this.list().len() != next.list().len() {
            return None;
        }
        let stride = |a: u32, b: u32| b.cast_signed() - a.cast_signed();
        let course = |(a, b): (&Name, &Name)| match (*a, *b) {
            (Name::Place(a), Name::Place(b)) | (Name::Out(a), Name::Out(b)) => Some(Course::Places(stride(a, b))),
            (Name::Unit(a, lane), Name::Unit(b, same)) if lane == same => {
                let [from, to] = [a, b].map(|unit| at[unit as usize] as usize);
                if a == b {
                    Some(Course::Fixed(a))
                } else if to >= start {
                    let back = (turn + 1).checked_sub((to - start) / period)?;
                    let inside = Course::Inside { at: (to - start) % period, back: u32::try_from(back).ok()? };
                    (from + period == to).then_some(inside)
                } else {
                    let [from, to] = [a, b].map(|unit| self.state[unit as usize].slot);
                    (from != NOWHERE && to != NOWHERE).then(|| Course::Before(stride(from, to)))
                }
            }
            (Name::Nothing, Name::Nothing) => Some(Course::Nothing),
            _ => None,
        };
        let mut courses = [Course::Nothing; MOST_NAMES];
        for (to, pair) in courses.iter_mut().zip(this.list().iter().zip(next.list())) {
            *to = course(pair)?;
        }
        Some(courses)
    }

    /// The longest loop around the middle of a stretch. The first turn is left out at least: what it hands on is a unit of the stretch.
    pub(super) fn find_loop<'o>(&self, order: &'o [Unit], mut stretch: Stretch, at: &[u32]) -> Option<Loop<'o>> {
        let middle = |stretch: Stretch| -> Option<Vec<Courses>> {
            let turn = stretch.turns / 2;
            (0..stretch.period).map(|position| self.courses(order, stretch, at, turn, position)).collect()
        };
        let mut courses = middle(stretch)?;
        let furthest = |courses: &[Courses]| {
            let back = |course: &Course| if let Course::Inside { back, .. } = *course { back } else { 0 };
            courses.iter().flatten().map(back).max().unwrap_or(0)
        };
        let back = furthest(&courses);
        if (2..=MOST_AT_A_TIME).contains(&back) && stretch.period * back as usize <= LONGEST {
            (stretch.period, stretch.turns) = (stretch.period * back as usize, stretch.turns / back as usize);
            if stretch.turns < FEWEST {
                return None;
            }
            courses = middle(stretch)?;
        }
        if furthest(&courses) > 1 {
            return None;
        }
        // What is the same in all turns has to be there before the first.
        let mut first = 1;
        for course in courses.iter().flatten() {
            if let Course::Fixed(unit) = *course
                && let Some(after) = (at[unit as usize] as usize).checked_sub(stretch.start)
            {
                first = first.max(after / stretch.period + 1);
            }
        }
        let turn = stretch.turns / 2;
        if first > turn {
            return None;
        }
        let same = |turn: usize| {
            let alike = |(position, known): (usize, &Courses)| {
                self.courses(order, stretch, at, turn, position).as_ref() == Some(known)
            };
            courses.iter().enumerate().all(alike)
        };
        let lowest = (first..turn).rev().take_while(|&turn| same(turn)).last().unwrap_or(turn);
        let highest = (turn..stretch.turns - 1).take_while(|&turn| same(turn)).last()? + 1;
        let turns = (highest + 1).checked_sub(lowest).filter(|&turns| turns >= FEWEST)?;
        Some(Loop {
            order,
            start: stretch.start + lowest * stretch.period,
            period: stretch.period,
            turns,
            names: order[stretch.start + lowest * stretch.period..][..stretch.period]
                .iter()
                .map(|&unit| self.names(unit))
                .collect(),
            courses,
            homes: Vec::new(),
            records: 0,
            record: 0,
            strides: Vec::new(),
        })
    }

    /// Where the units of a loop go.
    pub(super) fn find_homes(&mut self, found: &mut Loop<'_>, at: &[u32]) -> Option<()> {
        let (start, period) = (found.start, found.period);
        // How often each unit is read after the loop.
        let units = &found.order[start..][..found.turns * period];
        let mut after: Vec<u32> = units.iter().map(|&unit| self.state[self.numbers.of(unit) as usize].left).collect();
        for &unit in units {
            for read in Reads::of(self.region, self.groups, unit) {
                if let Some(inside) = (at[self.numbers.of(read) as usize] as usize).checked_sub(start) {
                    after[inside] -= 1;
                }
            }
        }
        // Which are handed on to the next turn, and which are read there after they are written: a tuple is only made when it is needed.
        let mut handed_on = vec![(false, false); period];
        for (position, _, course) in found.named() {
            if let Course::Inside { at, back: 1 } = course {
                let late = position > at || matches!(found.order[start + position], Unit::Tuple(_));
                handed_on[at] = (true, handed_on[at].1 | late);
            }
        }
        for (position, &(handed_on, late)) in handed_on.iter().enumerate() {
            let unit = found.order[start + position];
            let number = self.numbers.of(unit);
            let later = after.iter().skip(position).step_by(period);
            let last = later.clone().next_back().is_some_and(|&reads| reads > 0);
            let others = later.take(found.turns - 1).any(|&reads| reads > 0);
            let courses = &found.courses[position];
            let length = if self.numbers.is_single(number) { 1 } else { LANES };
            found.homes.push(if self.lasting(number) && alike(&courses[..LANES]) {
                if handed_on {
                    return None;
                }
                Home::Nowhere
            } else if (others || last)
                && !handed_on
                && found.names[position]
                    .goes_out(self.numbers.is_single(number))
                    .is_some_and(|first| alike(&courses[first..][..length]))
            {
                Home::Out
            } else if others || late {
                found.record += length as u32;
                Home::Record(found.record - length as u32)
            } else if handed_on || last {
                Home::Slot(self.new_slot(self.numbers.is_single(number)))
            } else {
                Home::Nowhere
            });
        }
        // The record before the first is for what is handed on to it.
        found.record = found.record.next_multiple_of(LANES as u32);
        found.records = self.end + found.record;
        Some(())
    }
}

/// Whether places that are side by side, or the same, in one turn are so in all.
fn alike(courses: &[Course]) -> bool {
    courses.iter().all(|course| *course == courses[0])
}
