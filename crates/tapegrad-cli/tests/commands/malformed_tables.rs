//! Tables that cannot be used: one line with file, row and column, exit code 2, nothing overwritten.

use crate::common::{Scratch, run, text};
use std::fs;
use std::path::Path;

/// Trains on a file with this content and gives the message after the file name.
fn refusal(content: impl AsRef<[u8]>) -> String {
    let scratch = Scratch::new();
    let data = scratch.file("data.csv", content);
    let model = scratch.file("model.safetensors", "what was there before");
    let message = run(&["train", text(&data), "--save", text(&model)]).refusal();
    assert_eq!(fs::read_to_string(&model).unwrap_or_default(), "what was there before", "nothing is overwritten");
    assert_eq!(scratch.names(), ["data.csv", "model.safetensors"], "nothing is left behind");
    let (file, problem) = message.split_once(": ").expect("the message names the file");
    assert_eq!(file, text(&data));
    problem.to_owned()
}

#[test]
fn a_ragged_row_is_named() {
    assert_eq!(refusal("a,b,y\n1,2,x\n1,y\n"), "row 3: found 2 columns, expected 3 as in the header");
}

#[test]
fn text_in_a_number_column_is_named_by_row_and_column() {
    assert_eq!(refusal("a,b,y\n1,2,x\n3,four,y\n"), "row 3, column `b`: expected a number, found `four`");
}

#[test]
fn cells_that_are_no_finite_numbers_are_named_by_row_and_column() {
    assert_eq!(refusal("a,b,y\n1,2,x\n3,NaN,y\n"), "row 3, column `b`: expected a finite number, found `NaN`");
    assert_eq!(refusal("a,b,y\n1,inf,x\n3,4,y\n"), "row 2, column `b`: expected a finite number, found `inf`");
    assert_eq!(refusal("a,b,y\n1,,x\n3,4,y\n"), "row 2, column `b`: expected a number, found an empty cell");
}

#[test]
fn files_without_rows_are_refused() {
    assert_eq!(refusal(""), "is empty");
    assert_eq!(refusal("a,b,y\n"), "has a header and no rows");
}

#[test]
fn a_target_with_one_class_is_refused() {
    assert_eq!(refusal("a,y\n1,x\n2,x\n3,x\n"), "column `y`: only one class (`x` in all 3 rows), nothing to learn");
}

#[test]
fn text_that_is_not_utf8_is_named_by_row_and_column() {
    let problem = refusal(b"a,y\n1,x\n2,caf\xe9\n");
    assert_eq!(problem, "row 3, column `y`: not UTF-8 (byte 0xe9 in `caf\u{fffd}`)");
}

#[test]
fn a_million_columns_are_refused_at_once() {
    let names: Vec<String> = (0..1_000_000).map(|column| format!("c{column}")).collect();
    let row = vec!["1"; 1_000_000].join(",");
    let start = std::time::Instant::now();
    assert_eq!(
        refusal(format!("{}\n{row}\n{row}\n", names.join(","))),
        "row 1: 1000000 columns, at most 100000 can be read"
    );
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let scratch = Scratch::new();
    let missing = scratch.path("missing.csv");
    assert_eq!(run(&["train", text(&missing)]).refusal(), format!("{}: no such file", text(&missing)));
    let directory = scratch.path("");
    let directory = directory.to_str().expect("the path is UTF-8");
    let message = run(&["train", directory]).refusal();
    assert_eq!(message, format!("{directory}: is a directory, expected a CSV file"));
}

#[test]
fn a_target_column_that_is_not_there_is_refused() {
    let data = crate::common::data("iris.csv");
    let message = run(&["train", &data, "--target", "specis"]).refusal();
    assert_eq!(message, format!("{data}: no column is named `specis`; did you mean `species`?"));
}

#[test]
fn a_model_that_cannot_be_written_is_refused_before_training() {
    let data = crate::common::data("iris.csv");
    let scratch = Scratch::new();
    let model = scratch.path("no/such/directory/model.safetensors");
    let message = run(&["train", &data, "--save", text(&model)]).refusal();
    assert!(message.starts_with(&format!("{}: no directory ", text(&model))), "{message}");
    let message = run(&["train", &data, "--save", text(Path::new("/"))]).refusal();
    assert_eq!(message, "/: expected the name of a file");
    let models = format!("{}/", text(&scratch.path("models")));
    let message = run(&["train", &data, "--save", &models]).refusal();
    assert_eq!(message, format!("{models}: expected the name of a file"));
}

#[test]
fn names_that_no_model_file_holds_are_refused_before_training() {
    let scratch = Scratch::new();
    // They are JSON in JSON there: every backslash is four.
    let header = "\\".repeat(9 << 20);
    let data = scratch.file("data.csv", format!("{header},y\n1,a\n2,b\n3,a\n4,b\n"));
    let model = scratch.path("model.safetensors");
    let message = run(&["train", text(&data), "--save", text(&model)]).refusal();
    assert_eq!(message, format!("{}: names and labels take more than 32 MiB", text(&model)));
    assert_eq!(scratch.names(), ["data.csv"]);
}

#[cfg(unix)]
#[test]
fn endless_files_are_refused() {
    let message = run(&["train", "/dev/zero"]).refusal();
    assert!(message.starts_with("/dev/zero: row 1: longer than 16 MiB"), "{message}");
}
