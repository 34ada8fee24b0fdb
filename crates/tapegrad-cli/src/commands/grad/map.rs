//! Owns `tapegrad grad --map`: the derivatives of a formula for each row of a table, as CSV.

use super::algebras::Recorder;
use super::functions::Functions;
use crate::args::GradArgs;
use crate::failure::Failure;
use crate::formula::{Binding, parse};
use crate::table::Points;
use crate::text::shown;
use std::io::Write;
use std::path::Path;
use tapegrad::{Tape, Var};

/// Differentiates at each row of the table at `path`; variables that are no columns of it have the values given.
pub(super) fn run(args: &GradArgs, bindings: &[Binding], path: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let points = Points::open(path)?;
    let columns = points.names().to_vec();
    if let Some(twice) = bindings.iter().find(|binding| columns.contains(&binding.name)) {
        let name = shown(&twice.name);
        return Err(points.error(format!("has a column {name}, and {name} has the value {} too", twice.value)).into());
    }
    let names: Vec<&str> =
        columns.iter().map(String::as_str).chain(bindings.iter().map(|binding| binding.name.as_str())).collect();
    let functions = Functions::new();
    let formula = parse(&args.formula, &names, &functions.table)?;
    // Columns that do not occur, such as remarks, are not looked at.
    let mapped: Vec<usize> = (0..columns.len()).filter(|&column| formula.uses(column)).collect();
    if mapped.is_empty() {
        return Err(points.error("no column has the name of a variable of the formula").into());
    }

    let tape = Tape::new();
    let column = |_| tape.input(1.0);
    let given = |binding: &Binding| tape.input(binding.value);
    let variables: Vec<Var> = (0..columns.len()).map(column).chain(bindings.iter().map(given)).collect();
    let value = formula.eval(&variables, &mut Recorder { tape: &tape, ops: &functions.ops });
    let wanted: Vec<usize> = mapped.iter().copied().chain(columns.len()..names.len()).collect();
    let by: Vec<Var> = wanted.iter().map(|&variable| variables[variable]).collect();
    let gradient = tape.grad(value, &by);
    let mut outputs = vec![("value".to_owned(), value)];
    outputs.extend(wanted.iter().zip(&gradient).map(|(&x, &slope)| (format!("d/d{}", names[x]), slope)));
    if args.hessian {
        for (&x, &slope) in wanted.iter().zip(&gradient) {
            let row = wanted.iter().zip(tape.grad(slope, &by));
            outputs.extend(row.map(|(&y, second)| (format!("d2/d{}d{}", names[x], names[y]), second)));
        }
    }
    let (titles, outputs): (Vec<String>, Vec<Var>) = outputs.into_iter().unzip();
    let inputs: Vec<Var> = mapped.iter().map(|&column| variables[column]).collect();
    let mut map = tape.compile_map::<f64>(&inputs, &outputs).map_err(Failure::other)?;

    let values = points.read(&mapped)?;
    let rows = values[0].len();
    map.set_threads(std::thread::available_parallelism().map_or(1, usize::from)).map_err(Failure::other)?;
    let mut results = vec![vec![0.0; rows]; outputs.len()];
    let read: Vec<&[f64]> = values.iter().map(|column| &column[..]).collect();
    let mut write: Vec<&mut [f64]> = results.iter_mut().map(|column| &mut column[..]).collect();
    map.run(&read, &mut write).map_err(Failure::other)?;

    let mut writer = csv::Writer::from_writer(out);
    let failed = |error: csv::Error| match error.into_kind() {
        csv::ErrorKind::Io(error) => Failure::from(error),
        kind => Failure::other(format!("the output cannot be written: {kind:?}")),
    };
    writer.write_record(&titles).map_err(failed)?;
    for row in 0..rows {
        writer.write_record(results.iter().map(|column| column[row].to_string())).map_err(failed)?;
    }
    writer.flush()?;
    Ok(())
}
