//! Binomial checkpoints: in which order the steps of a sequence are carried out again so that all can be reversed, the last
//! first, with room for a few states only.
//!
//! ```text
//!   0 ──────────▶ 3 ─────▶ 5 ─▶ 6            keep 0, 3 and 5; reverse 6; from 5 reverse 5; from 3 go to 4, reverse it; …
//!   ●             ●        ●
//! ```
//!
//! With $c$ checkpoints and no step carried out more than $r$ times, at most $\binom{c+r}{c}$ steps can be reversed, and halving is
//! not how: A. Griewank, A. Walther, "Algorithm 799: revolve", ACM Transactions on Mathematical Software 26 (2000), 19–45.

/// What reverses a sequence: it stands before one of its steps.
pub(super) trait Walk {
    /// Carries out so many steps.
    fn advance(&mut self, steps: usize);
    /// Keeps the state it stands at as checkpoint `slot`.
    fn save(&mut self, slot: usize);
    /// Goes back to checkpoint `slot`.
    fn restore(&mut self, slot: usize);
    /// Reverses the step it stands before.
    fn reverse(&mut self);
}

/// The most steps that can be reversed with `c` checkpoints if none is carried out more than `r` times, $\binom{c+r}{c}$;
/// `usize::MAX` where that is beyond all counting.
fn most_steps(c: usize, r: usize) -> usize {
    let (few, many) = if c < r { (c, r) } else { (r, c) };
    let mut product = 1_usize;
    for i in 1..=few {
        match product.checked_mul(many + i) {
            Some(next) => product = next / i,
            None => return usize::MAX,
        }
    }
    product
}

/// How often a step is carried out at most where `steps` are reversed with `c` checkpoints, and what could have been reversed
/// with one time less.
fn repetitions(steps: usize, c: usize) -> (usize, usize) {
    let (mut r, mut before, mut most) = (0, 0, 1_usize);
    while most < steps {
        r += 1;
        before = most;
        most = most.checked_mul(c + r).map_or(usize::MAX, |next| next / r);
    }
    (r, before)
}

/// How many steps must be carried out again to reverse `steps` with `c` checkpoints, of which one is the beginning:
/// $r n - \binom{c+r}{c+1}$ (Griewank and Walther, theorem 1).
pub(super) fn recomputed(steps: usize, c: usize) -> u64 {
    if steps == 0 {
        return 0;
    }
    let (n, c) = (steps as u128, c.clamp(1, steps));
    let again = if c == 1 {
        // Counting up to r = n − 1 would take as long as the scan.
        n * (n - 1) / 2
    } else {
        let (r, _) = repetitions(steps, c);
        if r == 0 { 0 } else { r as u128 * n - most_steps(c + 1, r - 1) as u128 }
    };
    u64::try_from(again).unwrap_or(u64::MAX)
}

/// How far to go before the next checkpoint, where `steps` > 1 are to be reversed and `c` checkpoints are left, of which one is the
/// beginning.
fn stride(steps: usize, c: usize) -> usize {
    if c == 1 {
        return steps - 1;
    }
    if steps <= c + 1 {
        return 1;
    }
    let (r, before) = repetitions(steps, c);
    // With one checkpoint less as many steps can be reversed as this, each carried out r − 1 times.
    let rest = (before as u128 * c as u128 / (c + r - 1) as u128) as usize;
    before.min(steps - rest)
}

/// Reverses a sequence of `steps` with at most `checkpoints` (at least 1) states kept. `kept` is memory for their numbers.
pub(super) fn revolve(steps: usize, checkpoints: usize, kept: &mut Vec<usize>, walk: &mut impl Walk) {
    kept.clear();
    if steps == 0 {
        return;
    }
    kept.push(0);
    walk.save(0);
    let mut at = 0;
    for last in (0..steps).rev() {
        if last + 1 < steps {
            // What was kept behind the step to be reversed has served.
            while kept.last().is_some_and(|&kept| kept > last) {
                kept.pop();
            }
            at = kept[kept.len() - 1];
            walk.restore(kept.len() - 1);
        }
        while at < last {
            let stride = stride(last + 1 - at, checkpoints - kept.len() + 1);
            walk.advance(stride);
            at += stride;
            if at < last {
                walk.save(kept.len());
                kept.push(at);
            }
        }
        walk.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that everything is as it should be, and counts.
    #[derive(Default)]
    struct Checked {
        at: usize,
        slots: Vec<Option<usize>>,
        reversed: Vec<usize>,
        advanced: u64,
    }

    impl Walk for Checked {
        fn advance(&mut self, steps: usize) {
            self.at += steps;
            self.advanced += steps as u64;
        }
        fn save(&mut self, slot: usize) {
            self.slots[slot] = Some(self.at);
        }
        fn restore(&mut self, slot: usize) {
            self.at = self.slots[slot].expect("something is kept there");
        }
        fn reverse(&mut self) {
            self.reversed.push(self.at);
        }
    }

    fn walked(steps: usize, checkpoints: usize) -> Checked {
        let mut walk = Checked { slots: vec![None; checkpoints], ..Checked::default() };
        revolve(steps, checkpoints, &mut Vec::new(), &mut walk);
        assert!(walk.reversed.iter().copied().eq((0..steps).rev()), "{steps} steps, {checkpoints} checkpoints");
        walk
    }

    #[test]
    fn no_order_of_steps_is_cheaper() {
        const STEPS: usize = 90;
        // The cheapest there is, found by trying every place for the next checkpoint.
        let mut cheapest = vec![vec![0_u64; STEPS + 1]];
        for c in 1..=9 {
            let mut row = vec![0; STEPS + 1];
            for n in 2..=STEPS {
                let with = |k: usize| {
                    let behind = if c > 1 { Some(cheapest[c - 1][n - k]) } else { (n - k == 1).then_some(0) };
                    behind.map(|behind| k as u64 + behind + row[k])
                };
                row[n] = (1..n).filter_map(with).min().expect("one way at least");
            }
            for (n, &least) in row.iter().enumerate() {
                assert_eq!(recomputed(n, c), least, "the formula for {n} steps and {c} checkpoints");
                assert_eq!(walked(n, c).advanced, least, "{n} steps with {c} checkpoints");
            }
            cheapest.push(row);
        }
    }

    #[test]
    fn long_sequences_take_what_the_formula_says() {
        for (steps, checkpoints) in [(3000, 1), (100_000, 7), (1_000_000, 100), (1_000_000, 1000), (50_000, 60_000)] {
            assert_eq!(walked(steps, checkpoints).advanced, recomputed(steps, checkpoints));
        }
        // Room for all: each step but the last is carried out once more.
        assert_eq!(recomputed(1000, 999), 999);
        assert_eq!(recomputed(1_000_000, 1000), 2_497_497);
        // Too many to be counted one by one, and too many for the number.
        assert_eq!(recomputed(5_000_000_000, 1), 2_500_000_000 * 4_999_999_999);
        assert_eq!(recomputed(10_000_000_000, 1), u64::MAX);
    }
}
