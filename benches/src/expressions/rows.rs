//! What a contestant took, ours or a peer's, and what follows from several of them.

use serde::{Deserialize, Serialize};

/// What a contestant does for its gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Only the value, on plain numbers.
    Value,
    /// Written by hand: the yardstick.
    ByHand,
    /// Forward mode.
    Forward,
    /// Records the function at each call.
    Record,
    /// Goes through a tape that was recorded once.
    Replay,
    /// Runs machine code that was made once by a compiler.
    Compiled,
    /// Many points at a time.
    Map,
}

/// What one contestant took for one case; what peers write, too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The case.
    pub case: String,
    /// `primal`, `by hand`, `duals`, `num-dual`, `anew`, `replay` or `map`; or a peer's name.
    pub contestant: String,
    /// What it does.
    pub kind: Kind,
    /// The tier, for programs.
    #[serde(default)]
    pub tier: Option<String>,
    /// Points side by side.
    #[serde(default)]
    pub lanes: Option<usize>,
    /// Threads.
    #[serde(default = "one")]
    pub threads: usize,
    /// Nanoseconds per point: the value for `primal`, value and gradient for all others.
    pub median_ns: f64,
    /// The function's value, which must be everybody's; nothing for what is quoted.
    #[serde(default)]
    pub value: Option<f64>,
    /// The fastest sample.
    #[serde(default)]
    pub fastest_ns: Option<f64>,
    /// Of the first gradient, with recording and compiling, or of compiling a map.
    #[serde(default)]
    pub first_ns: Option<f64>,
    /// Of compiling what was recorded and differentiated.
    #[serde(default)]
    pub compile_ns: Option<f64>,
    /// Whether the value is that of all others.
    #[serde(default)]
    pub verified: bool,
    /// Whether it was measured elsewhere; see [`quoted`](super::quoted).
    #[serde(default)]
    pub quoted: bool,
    /// Nanoseconds per operation of the function; what a peer writes here and below is not read.
    #[serde(default)]
    pub ns_per_operation: f64,
    /// To the fastest gradient by hand.
    #[serde(default)]
    pub ratio_to_hand: f64,
    /// To the value on plain numbers.
    #[serde(default)]
    pub ratio_to_primal: f64,
    /// How much faster it is than with one thread.
    #[serde(default)]
    pub speed_up: Option<f64>,
}

fn one() -> usize {
    1
}

impl Row {
    /// A row of which only this is known.
    #[must_use]
    pub fn new(case: &str, contestant: &str, kind: Kind, median_ns: f64) -> Row {
        Row {
            case: case.to_owned(),
            contestant: contestant.to_owned(),
            kind,
            tier: None,
            lanes: None,
            threads: 1,
            median_ns,
            value: None,
            fastest_ns: None,
            first_ns: None,
            compile_ns: None,
            verified: false,
            quoted: false,
            ns_per_operation: 0.0,
            ratio_to_hand: 0.0,
            ratio_to_primal: 0.0,
            speed_up: None,
        }
    }

    /// Who it is, with the tier and the threads, and an asterisk where it is quoted.
    #[must_use]
    pub fn name(&self) -> String {
        let mut name = self.contestant.clone();
        if let Some(tier) = &self.tier {
            name += &format!(" {tier}");
        }
        if let Some(lanes) = self.lanes {
            name += &format!(" ×{lanes}");
        }
        if self.threads > 1 {
            name += &format!(", {} threads", self.threads);
        }
        if self.quoted {
            name += "*";
        }
        name
    }

    /// Whether another row is the same contestant, but for its threads.
    fn is_same(&self, other: &Row) -> bool {
        (&self.case, &self.contestant, &self.tier, self.lanes)
            == (&other.case, &other.contestant, &other.tier, other.lanes)
    }
}

/// The largest relative difference of a peer's value that passes.
const TOLERANCE: f64 = 1e-10;

/// Adds the rows of peers for this case, and holds their values against ours.
pub fn merge(rows: &mut Vec<Row>, peers: &[Row]) {
    let Some((case, want)) = rows.first().and_then(|row| Some((row.case.clone(), row.value?))) else { return };
    for peer in peers.iter().filter(|peer| peer.case == case) {
        let near = |value: f64| (value - want).abs() <= TOLERANCE * want.abs().max(1.0);
        rows.push(Row { verified: peer.value.is_some_and(near), quoted: false, ..peer.clone() });
    }
}

/// Fills in what follows from several rows of one case of so many operations: ratios and speed-ups.
pub fn relate(rows: &mut [Row], operations: usize) {
    let least = |kind| rows.iter().filter(|row| row.kind == kind).map(|row| row.median_ns).min_by(f64::total_cmp);
    let (hand, primal) = (least(Kind::ByHand), least(Kind::Value));
    for k in 0..rows.len() {
        let alone = rows.iter().find(|row| row.threads == 1 && row.is_same(&rows[k])).map(|row| row.median_ns);
        let row = &mut rows[k];
        row.ns_per_operation = row.median_ns / operations as f64;
        row.ratio_to_hand = row.median_ns / hand.unwrap_or(f64::NAN);
        row.ratio_to_primal = row.median_ns / primal.unwrap_or(f64::NAN);
        row.speed_up = alone.filter(|_| row.threads > 1).map(|ns| ns / row.median_ns);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn yardsticks(case: &str, primal: f64, hand: f64) -> Vec<Row> {
        let known = |row: Row| Row { value: Some(2.0), verified: true, ..row };
        vec![known(Row::new(case, "primal", Kind::Value, primal)), known(Row::new(case, "by hand", Kind::ByHand, hand))]
    }

    #[test]
    fn a_peer_with_another_value_is_marked_and_other_cases_stay_out() {
        let peer = |case: &str, value| Row { value, verified: true, ..Row::new(case, "aad", Kind::Record, 9.0) };
        let mut rows = yardsticks("bag4", 1.0, 2.0);
        let peers =
            [peer("bag4", Some(2.0 + 1e-11)), peer("bag4", Some(2.1)), peer("bag4", None), peer("bs5", Some(2.0))];
        merge(&mut rows, &peers);
        assert_eq!(rows[2..].iter().map(|row| row.verified).collect::<Vec<_>>(), [true, false, false]);
    }

    #[test]
    fn ratios_are_taken_to_the_fastest_gradient_by_hand() {
        let mut rows = yardsticks("bag4", 1.0, 4.0);
        rows.push(Row::new("bag4", "by hand-native", Kind::ByHand, 2.0));
        rows.push(Row::new("bag4", "aad", Kind::Record, 8.0));
        relate(&mut rows, 4);
        assert_eq!(rows.iter().map(|row| row.ratio_to_hand).collect::<Vec<_>>(), [0.5, 2.0, 1.0, 4.0]);
        assert_eq!((rows[3].ratio_to_primal, rows[3].ns_per_operation), (8.0, 2.0));
    }

    #[test]
    fn a_speed_up_is_against_the_same_contestant_on_one_thread() {
        let map = |lanes, threads, ns| Row { lanes: Some(lanes), threads, ..Row::new("bag4", "map", Kind::Map, ns) };
        let mut rows = vec![map(32, 1, 8.0), map(32, 2, 5.0), map(64, 1, 6.0), map(64, 2, 3.0)];
        relate(&mut rows, 1);
        assert_eq!(rows.iter().map(|row| row.speed_up).collect::<Vec<_>>(), [None, Some(1.6), None, Some(2.0)]);
    }

    #[test]
    fn a_peer_need_not_write_what_is_computed_here() {
        let text = r#"{"case": "bs5", "contestant": "jax-jit", "kind": "compiled", "median_ns": 6000.0, "value": 1.5}"#;
        let row: Row = serde_json::from_str(text).unwrap();
        assert_eq!(row, Row { value: Some(1.5), ..Row::new("bs5", "jax-jit", Kind::Compiled, 6000.0) });
        let error = serde_json::from_str::<Row>(&text.replace("compiled", "guessed")).unwrap_err().to_string();
        assert!(error.contains("unknown variant `guessed`"), "{error}");
    }

    #[test]
    fn a_name_says_what_distinguishes_a_row() {
        let row = Row::new("bs5", "map", Kind::Map, 1.0);
        let row = Row { tier: Some("auto".into()), lanes: Some(64), threads: 2, ..row };
        assert_eq!(row.name(), "map auto ×64, 2 threads");
        assert_eq!(Row { quoted: true, ..Row::new("bs5", "Enzyme", Kind::Compiled, 1.0) }.name(), "Enzyme*");
    }
}
