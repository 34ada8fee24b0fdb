//! The gradients of the formulas that are timed agree with forward duals: by hand, replayed on each tier, and mapped.

use std::time::Duration;
use tapegrad_benches::expressions::contestants::{Choice, TIERS, measure};
use tapegrad_benches::expressions::{Case, NAMES};
use tapegrad_benches::timing::Plan;

#[test]
fn every_gradient_agrees_with_duals() {
    let plan = Plan { warm_up: Duration::ZERO, sample: Duration::ZERO, rounds: 1, budget: Duration::ZERO };
    let tiers = TIERS.map(|(tier, _)| tier).to_vec();
    let choice = Choice { contestants: Vec::new(), tiers, lanes: vec![8], threads: 1, points: None, plan };
    // The largest takes a minute and some GiB; the harness checks it there too, before it times anything.
    for name in NAMES.into_iter().filter(|name| *name != "gmm_d10k25") {
        let rows = measure(&mut Case::new(name), &choice).unwrap_or_else(|message| panic!("{name}: {message}"));
        assert!(rows.len() >= 6, "{name}: {}", rows.len());
    }
}
