//! Derivative rules with a mistake in them: the tests of derivatives must notice.
//!
//! A rule is the graph that it records, so a mistake is made in the graph: one node of it is computed wrongly (`mutate`). Each such
//! mutant is then looked at where the project's tests look:
//!
//! | test | looks at | notices |
//! |---|---|---|
//! | references | functions of numbers, at the arguments of the accuracy test | more than 1e-10 from the exact derivative times a cotangent, relative |
//! | edges | functions of numbers, at special arguments | another number than the stored one |
//! | differences | operations on tensors, at their samples | more than 1e-6 from differences of values |
//!
//! A mutant that computes the same everywhere on a much larger grid is no mistake: it is not counted. The certificate compares the rules of
//! tensor operations, as they are, with differences; so mutants are compared with the rules as they are.
//!
//! `cargo test -p tapegrad --test derivative_mutants -- --nocapture` prints the counts, and every mutant that survives.
#![allow(clippy::unwrap_used)]

mod edges;
mod mutate;
mod numbers;
mod rule;
mod tensors;

use std::collections::BTreeMap;

/// What became of the mutants.
#[derive(Default)]
struct Tally {
    /// By the test that noticed.
    killed: BTreeMap<&'static str, usize>,
    equivalent: usize,
    survivors: Vec<String>,
}

impl Tally {
    fn total(&self) -> usize {
        self.killed.values().sum::<usize>() + self.survivors.len()
    }
}

#[test]
fn mistakes_in_derivative_rules_are_noticed() {
    let mut tally = Tally::default();
    numbers::try_all(&mut tally);
    tensors::try_all(&mut tally);
    let (total, survived) = (tally.total(), tally.survivors.len());
    for survivor in &tally.survivors {
        println!("survives: {survivor}");
    }
    let by: Vec<String> = tally.killed.iter().map(|(test, count)| format!("{count} by {test}")).collect();
    let share = 100.0 * (total - survived) as f64 / total as f64;
    println!(
        "mutants {total}, killed {} ({}), survived {survived}, equivalent and not counted {}: {share:.2} % killed",
        total - survived,
        by.join(", "),
        tally.equivalent
    );
    assert!(total > 4000, "{total} mutants");
    assert!(share >= 95.0, "{share} %");
}
