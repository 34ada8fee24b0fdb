//! The table of a run, as text and as JSON.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::cases::Case;
use crate::contestants::{Contestant, Dtype, YARDSTICK, verify};
use crate::timing::{Plan, Steps, Timing, side_by_side};

/// One contestant in one case.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// `'A'` to `'H'`.
    pub case: char,
    /// `"f32"` or `"f64"`.
    pub dtype: &'static str,
    /// Name of the contestant.
    pub contestant: &'static str,
    /// Median nanoseconds per training step.
    pub median_ns: f64,
    /// Nanoseconds per step in the fastest sample.
    pub fastest_ns: f64,
    /// Number of samples.
    pub samples: usize,
    /// Median over the yardstick's median in the same run.
    pub ratio: f64,
    /// Floating-point operations of the matrix products, in 10⁹ per second.
    pub gflops: f64,
}

/// Checks that `contestants` train `case` alike, then times them side by side.
///
/// # Errors
/// If two of them disagree about the loss after ten steps.
pub fn measure(contestants: &[Contestant], case: &Case, dtype: Dtype, plan: Plan) -> Result<Vec<Row>, String> {
    verify(contestants, case, dtype)?;
    let mut nets: Vec<_> = contestants.iter().map(|c| c.make(case, dtype)).collect();
    let mut steps: Vec<Box<Steps<'_>>> =
        nets.iter_mut().map(|net| -> Box<Steps<'_>> { Box::new(move |n| (0..n).for_each(|_| net.step())) }).collect();
    let timings = side_by_side(&mut steps, plan);
    Ok(rows(contestants, case, dtype, &timings))
}

fn rows(contestants: &[Contestant], case: &Case, dtype: Dtype, timings: &[Timing]) -> Vec<Row> {
    let of = |name| contestants.iter().position(|c| c.name == name);
    let yardstick = of(YARDSTICK).map_or(f64::NAN, |k| timings[k].median_ns);
    let row = |(c, t): (&Contestant, &Timing)| Row {
        case: case.name,
        dtype: dtype.name(),
        contestant: c.name,
        median_ns: t.median_ns,
        fastest_ns: t.fastest_ns,
        samples: t.samples,
        ratio: t.median_ns / yardstick,
        gflops: case.matmul_flops() / t.median_ns,
    };
    contestants.iter().zip(timings).map(row).collect()
}

/// One line about a case, above its rows.
pub fn heading(case: &Case, dtype: Dtype) -> String {
    let bias = if case.bias { "" } else { " without bias" };
    let (name, shape, batch, loss) = (case.name, case.shape(), case.batch, case.loss);
    format!("{name}  {shape}{bias}, batch {batch}, {loss:?}, {}", dtype.name())
}

/// The rows of a case, one line each: µs per step, ratio, spread, GFLOP/s.
pub fn table(rows: &[Row]) -> String {
    let mut text = format!("   {:<12}{:>12}{:>9}{:>11}{:>10}\n", "", "µs/step", "ratio", "fastest", "GFLOP/s");
    for row in rows {
        let (median, fastest) = (row.median_ns / 1e3, row.fastest_ns / 1e3);
        writeln!(
            text,
            "   {:<12}{:>12}{:>9.2}{:>11}{:>10.1}",
            row.contestant,
            digits(median),
            row.ratio,
            digits(fastest),
            row.gflops
        )
        .expect("writing to a string");
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::contestants::ALL;

    fn some_rows() -> Vec<Row> {
        let timings: Vec<Timing> = (0..ALL.len())
            .map(|k| Timing { median_ns: 100.0 * (k + 1) as f64, fastest_ns: 50.0, samples: 5 })
            .collect();
        rows(ALL, &Case::new('A'), Dtype::F32, &timings)
    }

    #[test]
    fn ratios_are_taken_to_the_yardstick() {
        let rows = some_rows();
        let yardstick = rows.iter().find(|r| r.contestant == YARDSTICK).unwrap();
        assert_eq!(yardstick.ratio, 1.0);
        for row in &rows {
            assert_eq!(row.ratio, row.median_ns / yardstick.median_ns);
        }
    }

    #[test]
    fn json_has_a_row_per_contestant() {
        let file = std::env::temp_dir().join(format!("tapegrad-benches-{}.json", std::process::id()));
        write_json(&file, &some_rows()).unwrap();
        let read: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        std::fs::remove_file(&file).unwrap();
        let read = read.as_array().unwrap();
        assert_eq!(read.len(), ALL.len());
        assert_eq!(read[0]["contestant"], ALL[0].name);
        assert_eq!(read[0]["median_ns"], 100.0);
    }

    #[test]
    fn the_table_has_a_line_per_contestant() {
        let text = table(&some_rows());
        assert_eq!(text.lines().count(), ALL.len() + 1);
        assert!(text.contains("0.1000"), "{text}");
    }
}
