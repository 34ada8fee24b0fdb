//! The table of a run, as text and as JSON.

use std::fmt::Write as _;
use std::path::Path;

use crate::cases::Case;
use crate::contestants::Dtype;
use crate::measure::Row;

/// One line about a case, above its rows.
pub fn heading(case: &Case, dtype: Dtype) -> String {
    let bias = if case.bias { "" } else { " without bias" };
    let (name, shape, batch, loss) = (&case.name, case.shape(), case.batch, case.loss);
    let mut text = format!("{name}  {shape}{bias}, batch {batch}, {loss:?}");
    if !case.is_fixed() {
        let activations: Vec<String> = case.layers.iter().map(|l| format!("{:?}", l.activation)).collect();
        let (sum, optimizer) = (if case.mean { "" } else { " (sum)" }, case.optimizer);
        write!(text, "{sum} after {}, {optimizer:?}", activations.join("-")).expect("writing to a string");
    }
    format!("{text}, {}", dtype.name())
}

/// The rows of a case, one line each, and a line about what is recorded.
pub fn table(rows: &[Row]) -> String {
    let several = rows.iter().any(|r| r.threads > 1);
    let mut text = format!(
        "   {:<24}{:>10}{:>9}{:>10}{:>9}{:>10}{:>8}{}\n",
        "",
        "µs/step",
        "ratio",
        "fastest",
        "GFLOP/s",
        "of limit",
        "allocs",
        if several { "  speed-up" } else { "" },
    );
    for row in rows {
        text += &line(row, several);
    }
    for row in rows.iter().filter(|r| r.arena_bytes.is_some() && r.threads == 1) {
        text += &recorded(row);
    }
    for row in rows {
        if let Some(how) = &row.how {
            writeln!(text, "   {}: {how}", name(row)).expect("writing to a string");
        }
    }
    text
}

fn line(row: &Row, several: bool) -> String {
    let or_dash = |x: Option<String>| x.unwrap_or_else(|| "-".into());
    let speed_up = match row.speed_up {
        Some(s) => format!("{s:>9.2}x"),
        None if several && row.threads == 1 => "  1 thread".into(),
        None => String::new(),
    };
    let text = format!(
        "   {:<24}{:>10}{:>9}{:>10}{:>9}{:>10}{:>8}{speed_up}{}",
        name(row),
        digits(row.median_ns / 1e3),
        or_dash(row.ratio_to_expert.map(|r| format!("{r:.3}"))),
        or_dash(row.fastest_ns.map(|ns| digits(ns / 1e3))),
        or_dash(row.gflops.map(|g| format!("{g:.1}"))),
        or_dash(row.share_of_limit.map(|s| format!("{:.0} %", 100.0 * s))),
        or_dash(row.allocations_per_step.map(|n| format!("{n:.0}"))),
        if row.verified { "" } else { "  loss differs!" },
    );
    text.trim_end().to_owned() + "\n"
}

fn name(row: &Row) -> String {
    match row.threads {
        1 => row.contestant.clone(),
        n => format!("{}, {n} threads", row.contestant),
    }
}

fn recorded(row: &Row) -> String {
    let mut text = format!("   {}:", row.contestant);
    if let Some(arena) = row.arena_bytes {
        write!(text, " arena {} KiB", digits(arena as f64 / 1024.0)).expect("writing to a string");
        if let Some(live) = row.live_bytes {
            let (least, ratio) = (digits(live as f64 / 1024.0), arena as f64 / live as f64);
            write!(text, " ({ratio:.2} times the {least} KiB alive at one time)").expect("writing to a string");
        }
    }
    if let Some(ns) = row.first_step_ns {
        write!(text, ", recorded, compiled and replayed once in {} ms", digits(ns / 1e6)).expect("writing to a string");
    }
    text + "\n"
}

/// The geometric mean of the ratios of `contestant` to the yardstick, and the worst with its case.
pub fn summary(rows: &[Row], contestant: &str, dtype: Dtype) -> Option<String> {
    let of = |r: &&Row| r.contestant == contestant && r.dtype == dtype.name() && r.threads == 1;
    let ratios: Vec<(f64, &Row)> = rows.iter().filter(of).filter_map(|r| Some((r.ratio_to_expert?, r))).collect();
    let (worst, row) = ratios.iter().max_by(|a, b| a.0.total_cmp(&b.0))?;
    let mean = (ratios.iter().map(|(r, _)| r.ln()).sum::<f64>() / ratios.len() as f64).exp();
    Some(format!(
        "{contestant} {}: {} cases, ratio {mean:.3} in the geometric mean, {worst:.3} at worst ({})",
        dtype.name(),
        ratios.len(),
        row.case
    ))
}

/// All rows of a number type with one thread as a table in Markdown: µs per step of every contestant, tapegrad's ratio to
/// the yardstick, the rate of its products and its share of the machine's limit. Nothing where there are no rows.
pub fn markdown(rows: &[Row], dtype: Dtype) -> String {
    let rows: Vec<&Row> = rows.iter().filter(|r| r.dtype == dtype.name() && r.threads == 1).collect();
    let (mut cases, mut contestants) = (Vec::new(), Vec::new());
    for row in &rows {
        for (name, names) in [(row.case.as_str(), &mut cases), (row.contestant.as_str(), &mut contestants)] {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    if cases.is_empty() {
        return String::new();
    }
    let mut text = format!("{}, µs per step (median):\n\n", dtype.name());
    text += &format!("| case | {} | tapegrad / expert | GFLOP/s | of limit |\n", contestants.join(" | "));
    text += &format!("|---|{}\n", "---:|".repeat(contestants.len() + 3));
    for case in cases {
        let of = |name: &str| rows.iter().find(|r| r.case == case && r.contestant == name);
        let dash = || "-".to_owned();
        let medians = contestants.iter().map(|c| of(c).map_or_else(dash, |r| digits(r.median_ns / 1e3)));
        let ratio = of("tapegrad").and_then(|r| r.ratio_to_expert).map_or_else(dash, |r| format!("{r:.2}"));
        let share = of("tapegrad").and_then(|r| r.share_of_limit).map_or_else(dash, |s| format!("{:.0} %", 100.0 * s));
        let rate = of("tapegrad").and_then(|r| r.gflops).map_or_else(dash, |rate| format!("{rate:.1}"));
        text += &format!("| {case} | {} | {ratio} | {rate} | {share} |\n", medians.collect::<Vec<_>>().join(" | "));
    }
    text
}

/// Three or four significant digits.
fn digits(x: f64) -> String {
    match x {
        x if x < 1.0 => format!("{x:.4}"),
        x if x < 10.0 => format!("{x:.3}"),
        x if x < 100.0 => format!("{x:.2}"),
        x => format!("{x:.0}"),
    }
}

/// Writes all rows as a JSON array of objects.
///
/// # Errors
/// If the file cannot be written.
pub fn write_json(path: &Path, rows: &[Row]) -> std::io::Result<()> {
    let text = serde_json::to_string_pretty(rows)?;
    std::fs::write(path, text + "\n")
}

/// Reads rows that [`write_json`] or a peer has written.
///
/// # Errors
/// Says what is wrong with the file.
pub fn read_json(path: &Path) -> Result<Vec<Row>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    serde_json::from_str(&text).map_err(|e| format!("{} is not a list of rows: {e}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::measure::tests::row;

    #[test]
    fn json_is_read_back() {
        let file = std::env::temp_dir().join(format!("tapegrad-benches-{}.json", std::process::id()));
        let rows = vec![row("tapegrad", 1, 100.5), row("expert", 2, 50.25)];
        write_json(&file, &rows).unwrap();
        let read = read_json(&file).unwrap();
        std::fs::write(&file, "[{}]").unwrap();
        let error = read_json(&file).unwrap_err();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(read, rows);
        assert!(error.contains("is not a list of rows"), "{error}");
    }

    #[test]
    fn the_table_has_a_line_per_row_and_says_who_is_off() {
        let (mut right, wrong) = (row("tapegrad", 1, 100.0), row("torch", 1, 2e5));
        right.verified = true;
        right.arena_bytes = Some(2048);
        right.live_bytes = Some(1024);
        let text = table(&[right, wrong]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[1].contains("0.1000") && !lines[1].contains("differs"), "{text}");
        assert!(lines[2].contains("200") && lines[2].contains("loss differs!"), "{text}");
        assert!(lines[3].contains("arena 2.000 KiB (2.00 times the 1.000 KiB"), "{text}");
    }

    #[test]
    fn markdown_has_a_line_per_case_and_a_column_per_contestant() {
        let mut rows = vec![row("tapegrad", 1, 100.0), row("expert", 1, 200.0), row("expert", 2, 150.0)];
        rows[0].ratio_to_expert = Some(0.5);
        (rows[0].share_of_limit, rows[0].gflops) = (Some(0.25), Some(1.5));
        let text = markdown(&rows, Dtype::F32);
        assert!(text.contains("| case | tapegrad | expert | tapegrad / expert | GFLOP/s | of limit |\n"), "{text}");
        assert!(text.ends_with("| A | 0.1000 | 0.2000 | 0.50 | 1.5 | 25 % |\n"), "{text}");
        assert_eq!(markdown(&rows, Dtype::F64), "");
    }

    #[test]
    fn a_summary_has_the_geometric_mean_and_the_worst() {
        let mut rows = vec![row("tapegrad", 1, 1.0), row("tapegrad", 1, 1.0), row("expert", 1, 1.0)];
        (rows[0].ratio_to_expert, rows[1].ratio_to_expert) = (Some(0.5), Some(2.0));
        rows[1].case = "B".into();
        let text = summary(&rows, "tapegrad", Dtype::F32).unwrap();
        assert_eq!(text, "tapegrad f32: 2 cases, ratio 1.000 in the geometric mean, 2.000 at worst (B)");
        assert_eq!(summary(&rows, "tapegrad", Dtype::F64), None);
    }
}
