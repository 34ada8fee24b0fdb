//! The rows of a run as lines, as a table in Markdown, and as JSON.

use std::path::Path;

use super::quoted::TOOLS;
use super::rows::Row;

/// What the columns of [`line()`] are.
#[must_use]
pub fn heading() -> String {
    format!(
        "{:<11} {:<26} {:>12} {:>9} {:>8} {:>9} {:>11} {:>12}",
        "case", "contestant", "ns/point", "ns/op", "by hand", "primals", "first µs", "compiling µs"
    )
}

/// A row as a line.
#[must_use]
pub fn line(row: &Row) -> String {
    let micros = |ns: Option<f64>| ns.map_or(String::new(), |ns| format!("{:.0}", ns / 1e3));
    let mut text = format!(
        "{:<11} {:<26} {:>12.1} {:>9.3} {:>8.2} {:>9.2} {:>11} {:>12}",
        row.case,
        row.name(),
        row.median_ns,
        row.ns_per_operation,
        row.ratio_to_hand,
        row.ratio_to_primal,
        micros(row.first_ns),
        micros(row.compile_ns),
    );
    if let Some(speed_up) = row.speed_up {
        text += &format!("  {speed_up:.2} times one thread");
    }
    if !(row.verified || row.quoted) {
        text += "  value differs!";
    }
    text.trim_end().to_owned()
}

/// What the asterisk means; nothing if no row has one.
#[must_use]
pub fn footnote(rows: &[Row]) -> String {
    if !rows.iter().any(|row| row.quoted) {
        return String::new();
    }
    let tools = TOOLS.map(|(name, version, _)| format!("   {name}: {version}\n")).concat();
    "* not run here: measured on another machine on 2026-11-21 beside the same gradient by hand; the ratio of the two there\n  \
     times the gradient by hand here (bag4: num-dual in its place). See benches/src/expressions/quoted.rs.\n"
        .to_owned()
        + &tools
}

/// The rows with one thread as a table in Markdown: a line per case, a column per contestant, nanoseconds per point.
#[must_use]
pub fn markdown(rows: &[Row]) -> String {
    let column = |row: &Row| Row { lanes: None, ..row.clone() }.name();
    let rows: Vec<&Row> = rows.iter().filter(|row| row.threads == 1 && (row.verified || row.quoted)).collect();
    let (mut cases, mut columns): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
    for row in &rows {
        if !cases.contains(&&row.case[..]) {
            cases.push(&row.case);
        }
        if !columns.contains(&column(row)) {
            columns.push(column(row));
        }
    }
    let mut text = format!("| case | {} |\n|---|{}\n", columns.join(" | "), "---:|".repeat(columns.len()));
    for case in cases {
        // Of several numbers of lanes the fastest.
        let least = |name: &String| {
            let of = rows.iter().filter(|row| row.case == case && column(row) == *name).map(|row| row.median_ns);
            of.min_by(f64::total_cmp).map_or("–".to_owned(), short)
        };
        text += &format!("| {case} | {} |\n", columns.iter().map(least).collect::<Vec<_>>().join(" | "));
    }
    text
}

/// Nanoseconds in three digits or so: `1.89`, `173`, `49.5k`, `1.22M`.
fn short(ns: f64) -> String {
    let (scaled, unit) = match ns {
        ns if ns >= 1e6 => (ns / 1e6, "M"),
        ns if ns >= 1e4 => (ns / 1e3, "k"),
        ns => (ns, ""),
    };
    match scaled {
        x if x < 10.0 => format!("{x:.2}{unit}"),
        x if x < 100.0 => format!("{x:.1}{unit}"),
        x => format!("{x:.0}{unit}"),
    }
}

/// Writes rows as a JSON array of objects; a label is added to the contestants' names.
///
/// # Errors
/// If the file cannot be written.
pub fn write_json(path: &Path, rows: &[Row], label: Option<&str>) -> Result<(), String> {
    let named = |row: &Row| {
        let contestant = label.map_or(row.contestant.clone(), |label| format!("{}-{label}", row.contestant));
        Row { contestant, ..row.clone() }
    };
    let rows: Vec<Row> = rows.iter().filter(|row| !row.quoted).map(named).collect();
    let text = serde_json::to_string_pretty(&rows).map_err(|e| e.to_string())?;
    std::fs::write(path, text + "\n").map_err(|e| format!("cannot write {}: {e}", path.display()))
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
    use super::super::quoted::quote;
    use super::super::rows::tests::yardsticks;
    use super::super::rows::{Kind, relate};
    use super::*;

    fn rows() -> Vec<Row> {
        let mut rows = yardsticks("xor_221", 100.0, 162.0);
        rows.push(Row::new("xor_221", "aad", Kind::Record, 810.0));
        quote(&mut rows);
        relate(&mut rows, 10);
        rows
    }

    #[test]
    fn json_is_read_back_with_its_label_and_without_what_is_quoted() {
        let path = std::env::temp_dir().join(format!("tapegrad-rows-{}.json", std::process::id()));
        write_json(&path, &rows(), Some("native")).unwrap();
        let read = read_json(&path).unwrap();
        std::fs::write(&path, "[{}]").unwrap();
        let error = read_json(&path).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        let names: Vec<&str> = read.iter().map(|row| &row.contestant[..]).collect();
        assert_eq!(names, ["primal-native", "by hand-native", "aad-native"]);
        assert!(error.contains("is not a list of rows") && error.contains("missing field `case`"), "{error}");
        let error = read_json(Path::new("/no such file")).unwrap_err();
        assert!(error.starts_with("cannot read /no such file"), "{error}");
    }

    #[test]
    fn lines_say_who_is_off_and_who_is_quoted() {
        let lines: Vec<String> = rows().iter().map(line).collect();
        assert!(!lines[0].contains("differs") && lines[2].ends_with("value differs!"), "{lines:#?}");
        let enzyme = lines.last().unwrap();
        assert!(enzyme.contains(" Enzyme* ") && !enzyme.contains("differs"), "{enzyme}");
        assert!(footnote(&rows()).contains("Enzyme: snapshot"), "{}", footnote(&rows()));
        assert_eq!(footnote(&yardsticks("bs5", 1.0, 2.0)), "");
    }

    #[test]
    fn markdown_has_a_line_per_case_and_a_column_per_contestant() {
        let mut rows = rows();
        rows.extend(yardsticks("bs5", 25.5, 41e3));
        let text = markdown(&rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "| case | primal | by hand | CppAD* | CoDiPack-Primal* | CoDiPack* | Adept* | Enzyme* |");
        assert_eq!(lines[2], "| xor_221 | 100 | 162 | 573 | 919 | 651 | 617 | 227 |");
        assert_eq!(lines[3], "| bs5 | 25.5 | 41.0k | – | – | – | – | – |");
    }
}
