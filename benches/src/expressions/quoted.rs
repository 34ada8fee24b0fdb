//! Tools in C++ that are not built here: what they took elsewhere, beside what the same yardstick took there.
//!
//! Measured on 2026-11-21 on two virtual cores of an AMD EPYC of the fourth generation (AVX-512), one pinned core, every gradient
//! checked against forward mode in long double; gcc 12.2 and clang 19.1 with `-O3 -march=native`, rustc 1.95 for that CPU. The
//! functions are the ones of [`functions`](super::functions), the yardstick is the text of [`by_hand`](super::by_hand). What stands
//! in our table is `tool / yardstick`, both measured there, times the yardstick's time here: an estimate, and marked as one.
//! (The gradient by hand of `bag4` is younger than the measurement: its yardstick is `num-dual`, the same in both.)
//!
//! `rosen2` is left out: its gradient by hand takes two nanoseconds there, the resolution of a call.

use super::rows::{Kind, Row};

/// The tools in the order of the table's columns, their versions, and what they do.
pub const TOOLS: [(&str, &str, Kind); 5] = [
    ("CppAD", "snapshot of 2026-04-30, the faster of the plain and the optimised tape", Kind::Replay),
    ("CoDiPack-Primal", "3.1.1, RealReversePrimal", Kind::Replay),
    ("CoDiPack", "3.1.1, RealReverse", Kind::Record),
    ("Adept", "2.1.3", Kind::Record),
    ("Enzyme", "snapshot of 2025-05-19 in clang 19.1.7; the gradient alone, without the value", Kind::Compiled),
];

/// Nanoseconds per gradient, there: the yardstick, then [`TOOLS`].
struct Measured(&'static str, &'static str, f64, [f64; TOOLS.len()]);

#[rustfmt::skip]
const MEASURED: [Measured; 12] = [
    //        case          yardstick   its ns       CppAD     Primal   CoDiPack    Adept    Enzyme
    Measured("rosen100",   "by hand",   130.0,    [4507.0,   6022.0,   2682.0,    3230.0,   48.0]),
    Measured("rosen10k",   "by hand",   13.0e3,   [465.2e3,  601.9e3,  251.7e3,   337.2e3,  5170.0]),
    Measured("speel100",   "by hand",   143.0,    [1357.0,   1552.0,   1444.0,    1060.0,   151.0]),
    Measured("lse1000",    "by hand",   5131.0,   [22.7e3,   18.1e3,   17.4e3,    12.9e3,   10.5e3]),
    Measured("bag4",       "num-dual",  175.0,    [637.0,    693.0,    514.0,     304.0,    203.0]),
    Measured("bs5",        "by hand",   41.0,     [514.0,    432.0,    386.0,     234.0,    46.0]),
    Measured("gmm_d2k5",   "by hand",   49.5e3,   [506.0e3,  747.6e3,  351.5e3,   456.1e3,  28.7e3]),
    Measured("gmm_d10k25", "by hand",   1.22e6,   [23.30e6,  27.84e6,  15.84e6,   17.98e6,  1.73e6]),
    Measured("xor_221",    "by hand",   162.0,    [573.0,    919.0,    651.0,     617.0,    227.0]),
    Measured("xor_2551",   "by hand",   687.0,    [2581.0,   3920.0,   2854.0,    2945.0,   949.0]),
    Measured("nbody300",   "by hand",   11.0e3,   [324.8e3,  410.8e3,  159.5e3,   264.3e3,  12.1e3]),
    Measured("ode_lv",     "by hand",   43.3e3,   [349.7e3,  399.3e3,  453.7e3,   264.0e3,  34.2e3]),
];

/// Adds what is quoted for the case of these rows, if there is something and its yardstick is among them. Of several builds of the
/// yardstick (`by hand-native`) the fastest counts.
pub fn quote(rows: &mut Vec<Row>) {
    let Some(case) = rows.first().map(|row| row.case.clone()) else { return };
    let Some(Measured(_, yardstick, there, tools)) = MEASURED.iter().find(|measured| measured.0 == case) else {
        return;
    };
    let is_yardstick = |row: &&Row| match row.contestant.strip_prefix(yardstick) {
        Some(rest) => rest.is_empty() || rest.starts_with('-'),
        None => false,
    };
    let Some(here) = rows.iter().filter(is_yardstick).map(|row| row.median_ns).min_by(f64::total_cmp) else { return };
    for ((name, _, kind), ns) in TOOLS.iter().zip(tools) {
        rows.push(Row { quoted: true, ..Row::new(&case, name, *kind, ns / there * here) });
    }
}

#[cfg(test)]
mod tests {
    use super::super::NAMES;
    use super::super::rows::tests::yardsticks;
    use super::*;

    #[test]
    fn quoted_is_a_ratio_times_the_fastest_yardstick_of_this_run() {
        let mut rows = yardsticks("xor_221", 1.0, 400.0);
        rows.push(Row::new("xor_221", "by hand-native", Kind::ByHand, 324.0));
        quote(&mut rows);
        assert_eq!(rows.len(), 3 + TOOLS.len());
        let enzyme = &rows[3 + TOOLS.len() - 1];
        assert_eq!((enzyme.name().as_str(), enzyme.kind, enzyme.median_ns), ("Enzyme*", Kind::Compiled, 454.0));
        assert!(!enzyme.verified);
    }

    #[test]
    fn nothing_is_quoted_without_its_yardstick() {
        for case in ["rosen2", "bag4"] {
            let mut rows = yardsticks(case, 1.0, 2.0);
            quote(&mut rows);
            assert_eq!(rows.len(), 2, "{case}");
        }
    }

    #[test]
    fn every_case_but_one_is_quoted_once() {
        for name in NAMES {
            let times = MEASURED.iter().filter(|measured| measured.0 == name).count();
            assert_eq!(times, usize::from(name != "rosen2"), "{name}");
        }
        assert!(MEASURED.iter().all(|Measured(name, ..)| NAMES.contains(name)));
    }
}
