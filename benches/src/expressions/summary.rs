//! What a run says about each tier: ratios to the others over all cases, and what compiling costs.

use std::fmt::Write as _;

use super::contestants::ANEW;
use super::rows::{Kind, Row};

/// A number per case.
type PerCase = Vec<(String, f64)>;

/// Whom replay and maps are held against.
#[derive(Clone, Copy)]
enum Against {
    ByHand,
    Primal,
    /// The fastest peer that replays a tape, measured or quoted.
    ReplayPeer,
    /// The fastest peer that records at each call, measured or quoted.
    RecordingPeer,
    /// This contestant.
    Named(&'static str),
}

const OF_REPLAY: [Against; 5] = [
    Against::ByHand,
    Against::ReplayPeer,
    Against::Named("Enzyme"),
    Against::Named("casadi-c"),
    Against::Named("num-dual"),
];
const OF_RECORDING: [Against; 3] = [Against::ByHand, Against::Primal, Against::RecordingPeer];
const OF_MAP: [Against; 3] = [Against::ByHand, Against::Primal, Against::Named("jax-vmap")];

impl Against {
    fn is(self, row: &Row) -> bool {
        let counts = row.threads == 1 && (row.verified || row.quoted);
        counts
            && match self {
                Against::ByHand => row.kind == Kind::ByHand,
                Against::Primal => row.kind == Kind::Value,
                Against::ReplayPeer => row.kind == Kind::Replay && row.tier.is_none(),
                Against::RecordingPeer => row.kind == Kind::Record && row.contestant != ANEW,
                Against::Named(name) => row.contestant == name,
            }
    }

    fn name(self) -> &'static str {
        match self {
            Against::ByHand => "by hand",
            Against::Primal => "primal",
            Against::ReplayPeer => "best replay peer",
            Against::RecordingPeer => "best peer that records",
            Against::Named("Enzyme") => "Enzyme*",
            Against::Named(name) => name,
        }
    }
}

/// What a group of rows has in common. Lanes count only where a case has been measured with several numbers of them: left to
/// tapegrad they differ from case to case.
#[derive(Clone, Copy, PartialEq)]
struct Group<'a> {
    contestant: &'a str,
    kind: Kind,
    tier: &'a str,
    lanes: Option<usize>,
}

impl<'a> Group<'a> {
    fn of(row: &'a Row, rows: &[Row]) -> Option<Group<'a>> {
        let several = |other: &Row| {
            (&other.case, &other.contestant, &other.tier) == (&row.case, &row.contestant, &row.tier)
                && other.lanes != row.lanes
        };
        // Of those without a tier, the one that needs none.
        let tier = row.tier.as_deref().or((row.contestant == ANEW).then_some(""));
        let tier = tier.filter(|_| row.threads == 1)?;
        let lanes = row.lanes.filter(|_| rows.iter().any(several));
        Some(Group { contestant: &row.contestant, kind: row.kind, tier, lanes })
    }
}

/// A few lines for each tier of replay and of maps, on one thread. Nothing where there are no rows.
#[must_use]
pub fn summary(rows: &[Row]) -> String {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for group in rows.iter().filter_map(|row| Group::of(row, rows)) {
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups.into_iter().map(|group| about(rows, group)).collect::<Vec<_>>().join("\n")
}

fn about(rows: &[Row], group: Group<'_>) -> String {
    let lanes = group.lanes.map_or(String::new(), |lanes| format!(" ×{lanes}"));
    let name = format!("{} {}{lanes}", group.contestant, group.tier);
    let name = name.trim_end();
    let against: &[Against] = match group.kind {
        Kind::Map => &OF_MAP,
        Kind::Record => &OF_RECORDING,
        _ => &OF_REPLAY,
    };
    let of_group: Vec<&Row> = rows.iter().filter(|row| Group::of(row, rows) == Some(group)).collect();
    let mut text = format!("{name}\n");
    for against in against {
        let ratios = of_group.iter().filter_map(|row| {
            let other = rows.iter().filter(|other| other.case == row.case && against.is(other));
            let other = other.min_by(|a, b| a.median_ns.total_cmp(&b.median_ns))?;
            let who = if matches!(against, Against::ReplayPeer | Against::RecordingPeer) {
                format!(": {}", other.name())
            } else {
                String::new()
            };
            Some((format!("{}{who}", row.case), row.median_ns / other.median_ns))
        });
        text += &line(&format!("to {}", against.name()), &ratios.collect());
    }
    if group.kind == Kind::Replay {
        text += &compiling(rows, &of_group);
    } else {
        text += &line("ns per operation", &of_group.iter().map(|r| (r.case.clone(), r.ns_per_operation)).collect());
    }
    text
}

/// What compiling costs: per operation, beside the interpreter's, beside `CasADi`'s C, and when it has paid for itself.
fn compiling(rows: &[Row], of_group: &[&Row]) -> String {
    let (mut all, mut added, mut even, mut to_c) = (PerCase::new(), PerCase::new(), PerCase::new(), PerCase::new());
    let mut never = Vec::new();
    for row in of_group {
        let Some(ns) = row.compile_ns else { continue };
        let operations = row.median_ns / row.ns_per_operation;
        let with = |number: f64| (row.case.clone(), number);
        all.push(with(ns / operations));
        let of_case = |other: &&Row| other.case == row.case;
        if let Some(c) = rows.iter().filter(of_case).find(|r| r.contestant == "casadi-c").and_then(|r| r.compile_ns) {
            to_c.push(with(ns / c));
        }
        let is_interpreter = |other: &&Row| other.kind == Kind::Replay && other.tier.as_deref() == Some("interpreter");
        let interpreter = rows.iter().filter(of_case).find(is_interpreter);
        let Some((slow, slow_ns)) = interpreter.and_then(|r| Some((r.median_ns, r.compile_ns?))) else { continue };
        if row.tier.as_deref() != Some("interpreter") {
            let extra = (ns - slow_ns).max(0.0);
            added.push(with(extra / operations));
            if slow > row.median_ns {
                even.push(with(extra / (slow - row.median_ns)))
            } else {
                never.push(&row.case[..])
            }
        }
    }
    let mut text = line("compiling, ns per operation", &all);
    text += &median_line("  of it machine code", &added);
    text += &line("  to compiling casadi-c", &to_c);
    text += &median_line("replays until it has paid for itself", &even);
    if !never.is_empty() {
        writeln!(text, "   {:<38}never in {}", "", never.join(", ")).expect("writing to a string");
    }
    text
}

/// The geometric mean and the largest with its case; nothing if there are no numbers.
fn line(what: &str, numbers: &PerCase) -> String {
    let mean = (numbers.iter().map(|(_, x)| x.ln()).sum::<f64>() / numbers.len() as f64).exp();
    with_largest(what, numbers, mean, "geometric mean")
}

/// The median, for differences, of which some are nothing but noise, and the largest.
fn median_line(what: &str, numbers: &PerCase) -> String {
    let mut sorted: Vec<f64> = numbers.iter().map(|(_, x)| *x).collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    with_largest(what, numbers, middle, "median")
}

fn with_largest(what: &str, numbers: &PerCase, middle: f64, which: &str) -> String {
    let Some((case, largest)) = numbers.iter().max_by(|a, b| a.1.total_cmp(&b.1)) else { return String::new() };
    let cases = if numbers.len() == 1 { "case, " } else { "cases," };
    let (middle, largest) = (digits(middle), digits(*largest));
    format!("   {what:<38}{:>2} {cases} {middle:>9} in the {which}, {largest} at most ({case})\n", numbers.len())
}

/// Three significant digits or more.
fn digits(x: f64) -> String {
    match x {
        0.0 => "0".into(),
        x if x < 0.01 => format!("{x:.6}"),
        x if x < 10.0 => format!("{x:.3}"),
        x if x < 100.0 => format!("{x:.1}"),
        x => format!("{x:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::relate;
    use super::super::rows::tests::yardsticks;
    use super::*;

    fn replay(case: &str, tier: &str, ns: f64, compile_ns: f64) -> Row {
        let row = Row::new(case, "replay", Kind::Replay, ns);
        Row { tier: Some(tier.into()), compile_ns: Some(compile_ns), verified: true, ..row }
    }

    /// Two cases of ten operations: by hand 100 and 200 ns.
    fn run() -> Vec<Row> {
        let mut all = Vec::new();
        for (case, hand, template) in [("bag4", 100.0, 50.0), ("bs5", 200.0, 400.0)] {
            let mut rows = yardsticks(case, 50.0, hand);
            rows.push(replay(case, "interpreter", 250.0, 1000.0));
            rows.push(replay(case, "template", template, 2000.0));
            rows.push(Row { verified: true, ..Row::new(case, "echidna-bytecode", Kind::Replay, 500.0) });
            rows.push(Row { verified: false, ..Row::new(case, "casadi-vm", Kind::Replay, 1.0) });
            rows.push(Row { quoted: true, ..Row::new(case, "Enzyme", Kind::Compiled, 25.0) });
            relate(&mut rows, 10);
            all.extend(rows);
        }
        all
    }

    #[test]
    fn each_tier_is_held_against_the_others() {
        let text = summary(&run());
        let template = text.split("\nreplay template\n").nth(1).expect("the tier has its lines");
        let lines: Vec<&str> = template.lines().map(str::trim).collect();
        let starts = |line: &str, what: &str, rest: &str| line.starts_with(what) && line.ends_with(rest);
        assert!(
            starts(lines[0], "to by hand ", "2 cases,     1.000 in the geometric mean, 2.000 at most (bs5)"),
            "{text}"
        );
        assert!(starts(lines[1], "to best replay peer", "0.800 at most (bs5: echidna-bytecode)"), "{text}");
        assert!(starts(lines[2], "to Enzyme*", "16.0 at most (bs5)"), "{text}");
        assert!(
            starts(lines[3], "compiling, ns per operation", "200 in the geometric mean, 200 at most (bs5)"),
            "{text}"
        );
        assert!(starts(lines[4], "of it machine code", "100 in the median, 100 at most (bs5)"), "{text}");
        assert!(starts(lines[5], "replays until it has paid for itself", "5.000 at most (bag4)"), "{text}");
        assert_eq!(lines[6], "never in bs5");
    }

    #[test]
    fn what_is_recorded_anew_is_held_against_those_who_record() {
        let mut rows = run();
        for (contestant, ns) in [(ANEW, 900.0), ("aad", 600.0), ("echidna", 450.0)] {
            rows.push(Row { verified: true, ..Row::new("bag4", contestant, Kind::Record, ns) });
        }
        let text = summary(&rows);
        let anew = text.split("anew\n").nth(1).expect("it has its lines");
        let line = anew.lines().find(|line| line.trim_start().starts_with("to best peer that records"));
        assert!(line.is_some_and(|line| line.ends_with("2.000 at most (bag4: echidna)")), "{text}");
    }

    #[test]
    fn an_unverified_peer_does_not_count() {
        assert!(!summary(&run()).contains("casadi-vm"), "{}", summary(&run()));
    }

    #[test]
    fn maps_of_several_widths_are_several_groups() {
        let map = |case: &str, lanes| {
            let row = Row::new(case, "map", Kind::Map, 10.0);
            Row { tier: Some("auto".into()), lanes: Some(lanes), verified: true, ..row }
        };
        let mut rows = yardsticks("bag4", 5.0, 20.0);
        rows.push(map("bag4", 64));
        assert_eq!(summary(&rows).matches("map auto").count(), 1);
        rows.push(map("bag4", 32));
        assert_eq!(summary(&rows).matches("map auto").count(), 2);
        assert_eq!(summary(&yardsticks("bag4", 1.0, 2.0)), "");
    }
}
