//! The certificate: what was checked of every operation, and how exact it was found to be. Prints the table that stands in
//! `docs/src/certificate.md`, and fails where an error is larger than it says. With `TAPEGRAD_UPDATE_GOLDEN=1` it writes the page.

use std::error::Error;
use std::fmt::Write;
use tapegrad::check::{Accuracy, GradcheckOptions, Worst, accuracy, gradgradcheck, jvp_check};
use tapegrad::ir::{Kernel, LeafValue, OpDef, Sample};
use tapegrad::{Tape, Tensor, Var, ops::OPS};

const REFERENCES: &str = include_str!("../../crates/tapegrad/tests/data/scalars.txt");
const EDGES: &str = include_str!("../../crates/tapegrad/tests/data/edges.txt");
const PAGE: &str = include_str!("../../docs/src/certificate.md");

/// Numbers in the table of edges under a name, values and derivatives.
fn edges(name: &str) -> usize {
    let of_it = |line: &&str| line.split([' ', ':']).next() == Some(name);
    EDGES.lines().filter(of_it).map(|line| line.split(' ').count() - 2).sum()
}

/// The derivatives of one sample, against differences: first and second ones, by reverse and by forward mode, element by element.
fn differences(op: &'static OpDef, sample: &Sample) -> Result<(), String> {
    let real = |v: &LeafValue| if let LeafValue::Real(t) = v { Some(t.clone()) } else { None };
    let inputs: Vec<Tensor> = sample.inputs.iter().filter_map(real).collect();
    let record = |tape: &Tape, x: &[Var]| {
        let mut x = x.iter().copied();
        let operand = |v: &LeafValue| match v {
            LeafValue::Real(_) => x.next().expect("as many as the sample has"),
            LeafValue::Index(i) => tape.index_input(i.clone()),
        };
        let operands: Vec<Var> = sample.inputs.iter().map(operand).collect();
        Var::record(op, &operands, sample.attrs.clone())
    };
    let each = GradcheckOptions::default().every_element(true);
    let first = jvp_check(record, &inputs, each);
    first.and_then(|()| gradgradcheck(record, &inputs, each)).map_err(|e| format!("{}: {e}", op.name))
}

/// The row of an operation: by references of many digits, else by differences, else by its edges alone (what jumps).
fn row(op: &'static OpDef, references: &[[Accuracy; 2]]) -> Result<String, String> {
    let measured: Vec<&Accuracy> = references.iter().flatten().filter(|a| a.op.is(op)).collect();
    let (name, samples) = (op.name, (op.samples)());
    if measured.is_empty() && op.elementwise().is_some() {
        return Ok(format!("| `{name}` | 0 | 0 | – | – | – | – | {} |", edges(name)));
    }
    if measured.is_empty() {
        samples.iter().try_for_each(|sample| differences(op, sample))?;
        return Ok(format!("| `{name}` | 1, 2 by differences | {} | – | – | – | – | – |", samples.len()));
    }
    let rows: usize = measured.iter().map(|a| a.samples).sum();
    let worst = |order: usize| measured.iter().map(|a| a.worst[order].error).fold(0.0, f64::max);
    let stated = |order| Worst { error: worst(order), ..Worst::default() }.stated();
    let errors = [0, 1, 2, 3].map(stated).map(|e| if e < 1000.0 { e.to_string() } else { format!("{e:.0e}") });
    Ok(format!("| `{name}` | 0 to 3 | {rows} | {} | {} |", errors.join(" | "), edges(name)))
}

fn main() -> Result<(), Box<dyn Error>> {
    let (double, single) = (accuracy::<f64>(REFERENCES)?, accuracy::<f32>(REFERENCES)?);
    let references: Vec<[Accuracy; 2]> = double.into_iter().zip(single).map(Into::into).collect();
    let computed = || OPS.iter().filter(|op| !matches!(op.kernel, Kernel::Leaf));
    let mut table = String::new();
    for op in computed() {
        writeln!(table, "{}", row(op, &references)?)?;
    }
    let numbers: usize = references.iter().flatten().map(|a| a.checks).sum();
    let edges: usize = computed().map(|op| edges(op.name)).sum();
    let total = format!("operations {}, numbers compared {numbers}, edge values {edges}", computed().count());
    println!("{table}\n{total}");
    if std::env::var_os("TAPEGRAD_UPDATE_GOLDEN").is_some() {
        let (before, _) = PAGE.split_once("|---|---|---|---|---|---|---|---|\n").ok_or("the page has no table")?;
        let page = format!("{before}|---|---|---|---|---|---|---|---|\n{table}\n{total}\n");
        return Ok(std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src/certificate.md"), page)?);
    }
    // What is stated holds, to the last row; and it is not much more than was found.
    let stated: Vec<&str> = PAGE.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(stated.len(), computed().count(), "docs/src/certificate.md has not one row for each operation");
    for (stated, found) in stated.iter().zip(table.lines()) {
        let cells = |row: &str| row.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
        for (stated, found) in cells(stated).iter().zip(cells(found)) {
            let holds = match (stated.parse::<f64>(), found.parse::<f64>()) {
                (Ok(stated), Ok(found)) => found <= stated && stated <= 4.0 * found.max(0.5),
                _ => *stated == found,
            };
            assert!(holds, "docs/src/certificate.md says {stated}, found was {found}:\n{}", table);
        }
    }
    assert!(PAGE.contains(&total), "docs/src/certificate.md should say: {total}");
    Ok(())
}
