//! Every law of [`suite::every_law_holds`], on 2 000 random programs of up to 400 nodes, in four parts that run side by side.
//!
//! `TAPEGRAD_CASES=200000 cargo test --release -p tapegrad --test random_programs -- --nocapture` tries a hundred times as many, the same
//! ones every time, and prints what was looked at.

use tapegrad::check::suite;

fn part(part: u32) {
    let tally = suite::every_law_holds(part, 4);
    println!(
        "part {part}: {} programs of {} nodes on average and {} at most, {} of scalars; {} numbers compared; differences told {} of {} derivatives",
        tally.programs,
        tally.nodes / tally.programs.max(1),
        tally.most,
        tally.scalar,
        tally.numbers,
        tally.told,
        tally.tried
    );
    assert!(tally.most <= 400 && tally.scalar > 0 && tally.numbers > 100 * tally.programs, "{tally:?}");
}

macro_rules! parts {
    ($($name:ident: $part:literal,)+) => {$(
        #[test]
        fn $name() {
            part($part);
        }
    )+};
}

parts! {
    every_law_holds_for_the_first_part: 0,
    every_law_holds_for_the_second_part: 1,
    every_law_holds_for_the_third_part: 2,
    every_law_holds_for_the_fourth_part: 3,
}
