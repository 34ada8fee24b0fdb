//! Training, saving, predicting; and model files that cannot be used.

use crate::common::{Ran, Scratch, data, run, text};
use std::fs;

/// Trains briefly on iris and saves the model.
fn small_model(scratch: &Scratch, name: &str) -> String {
    let model = scratch.path(name);
    let model = text(&model).to_owned();
    run(&["train", &data("iris.csv"), "--layers=4", "--epochs=20", "--quiet", "--save", &model]).success();
    model
}

fn last_line(out: &str) -> &str {
    out.trim_end().lines().last().unwrap_or("")
}

/// The accuracy in the last line of the output of a training.
fn accuracy(out: &str) -> f64 {
    let number = last_line(out).strip_prefix("held-out accuracy ").and_then(|text| text.parse().ok());
    number.unwrap_or_else(|| panic!("no accuracy in {out:?}"))
}

#[test]
fn iris_is_learned_with_default_settings() {
    let found = accuracy(&run(&["train", &data("iris.csv")]).success());
    assert!(found >= 0.95, "{found}");
}

#[test]
fn breast_cancer_is_learned_with_default_settings() {
    let found = accuracy(&run(&["train", &data("breast_cancer.csv")]).success());
    assert!(found >= 0.96, "{found}");
}

#[test]
fn digits_are_learned_with_default_settings() {
    let found = accuracy(&run(&["train", &data("digits.csv")]).success());
    assert!(found >= 0.96, "{found}");
}

#[test]
fn the_default_settings_do_not_live_on_one_lucky_seed() {
    for (name, seeds, wanted) in [("iris.csv", 30, 0.95), ("breast_cancer.csv", 10, 0.96), ("digits.csv", 3, 0.96)] {
        let of_seed =
            |seed: u32| accuracy(&run(&["train", &data(name), "--quiet", &format!("--seed={seed}")]).success());
        let mean = (1..=seeds).map(of_seed).sum::<f64>() / f64::from(seeds);
        assert!(mean >= wanted, "{name}: {mean}");
    }
}

#[test]
fn a_number_is_predicted_with_its_rmse() {
    let scratch = Scratch::new();
    let rows: String = (0..200)
        .map(|row| {
            let (x, y) = (f64::from(row % 20) / 10.0, f64::from(row / 20) / 5.0);
            format!("{x},{y},{}\n", 100.0 + 3.0 * x - 2.0 * y)
        })
        .collect();
    let table = scratch.file("plane.csv", format!("x,y,z\n{rows}"));
    let model = scratch.path("plane.safetensors");
    let out = run(&["train", text(&table), "--layers=none", "--learning-rate=0.1", "--save", text(&model)]).success();
    let rmse: f64 = last_line(&out).strip_prefix("held-out rmse ").and_then(|text| text.parse().ok()).expect("an rmse");
    assert!(rmse < 0.1, "{out}");
    let out = run(&["predict", text(&model), text(&table)]).success();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((lines[0], lines.len()), ("z", 201));
    let first: f64 = lines[1].parse().expect("a number");
    assert!((first - 100.0).abs() < 0.5, "{first}");
}

#[test]
fn errors_of_any_size_have_digits() {
    let scratch = Scratch::new();
    for scale in ["e-9", "e200"] {
        let rows: String = (0..20).map(|row| format!("{row},{}.5{scale}\n", (row * 7) % 20)).collect();
        let table = scratch.file("table.csv", format!("x,y\n{rows}"));
        let model = scratch.path("model.safetensors");
        let train = ["train", text(&table), "--epochs=2", "--quiet", "--test-fraction=0", "--save", text(&model)];
        let out = run(&train).success();
        let trained = last_line(&out).strip_prefix("training rmse ").map(str::to_owned).expect("an rmse");
        let size = trained.parse::<f64>().expect("a number") / format!("1{scale}").parse::<f64>().expect("a number");
        assert!((1.0..20.0).contains(&size), "{trained}");
        let again = run(&["predict", text(&model), text(&table)]).err;
        let found = again.strip_prefix("rmse ").and_then(|rest| rest.split(' ').next()).expect("an rmse");
        let ratio = found.parse::<f64>().expect("a number") / trained.parse::<f64>().expect("a number");
        assert!((ratio - 1.0).abs() < 1e-4, "{found}, {trained}");
    }
}

#[test]
fn all_rows_can_be_learned_from() {
    let out = run(&["train", &data("xor.csv"), "--test-fraction=0"]).success();
    assert_eq!(last_line(&out), "training accuracy 1.000");
    assert!(out.contains("4 rows to learn from, 0 held out"), "{out}");
}

#[test]
fn a_training_that_diverges_writes_nothing() {
    let scratch = Scratch::new();
    let table = scratch.file("steep.csv", "x,y\n1,1.5\n2,-700\n3,1e6\n4,12\n5,8\n6,-3\n");
    let model = scratch.file("model.safetensors", "what was there before");
    let train = ["train", text(&table), "--optimizer=sgd", "--learning-rate=1e9", "--save", text(&model)];
    let Ran { code, out, err } = run(&train);
    assert_eq!(code, Some(1), "{out}{err}");
    let last = last_line(&err);
    assert!(last.starts_with("error: ") && last.contains("training diverged"), "{err}");
    assert_eq!(fs::read_to_string(&model).unwrap_or_default(), "what was there before");
    assert_eq!(scratch.names(), ["model.safetensors", "steep.csv"]);
}

#[test]
fn a_training_that_is_saved_often_leaves_its_last_good_model() {
    let scratch = Scratch::new();
    let table = scratch.file("steep.csv", "x,y\n1,1.5\n2,-700\n3,1e6\n4,12\n5,8\n6,-3\n");
    let model = scratch.path("model.safetensors");
    // Diverges after some epochs.
    let train = ["train", text(&table), "--optimizer=sgd", "--learning-rate=1.5", "--epochs=2000", "--layers=none"];
    let Ran { code, err, .. } = run(&[&train[..], &["--save-every=1", "--save", text(&model)]].concat());
    assert_eq!(code, Some(1), "{err}");
    assert!(last_line(&err).contains("training diverged"), "{err}");
    run(&["predict", text(&model), text(&table)]).success();
    assert_eq!(scratch.names(), ["model.safetensors", "steep.csv"]);
}

#[test]
fn saving_on_the_way_does_not_change_what_is_saved_at_the_end() {
    let scratch = Scratch::new();
    let (once, often) = (small_model(&scratch, "once"), scratch.path("often"));
    let train = ["train", &data("iris.csv"), "--layers=4", "--epochs=20", "--quiet", "--save-every=3", "--save"];
    run(&[&train[..], &[text(&often)]].concat()).success();
    assert_eq!(fs::read(&once).ok(), fs::read(&often).ok());
    let refusal = run(&["train", &data("iris.csv"), "--save-every=3"]);
    assert_eq!(refusal.code, Some(2), "{refusal:?}");
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let scratch = Scratch::new();
    let (one, two) = (small_model(&scratch, "one"), small_model(&scratch, "two"));
    assert_eq!(fs::read(&one).ok(), fs::read(&two).ok());
    let three = scratch.path("three");
    let train = ["train", &data("iris.csv"), "--layers=4", "--epochs=20", "--seed=2", "--save", text(&three)];
    run(&train).success();
    assert_ne!(fs::read(&one).ok(), fs::read(&three).ok());
}

#[test]
fn a_saved_model_predicts_labels_with_probabilities() {
    let scratch = Scratch::new();
    let model = small_model(&scratch, "model.safetensors");
    let ran = run(&["predict", &model, &data("iris.csv")]);
    let out = ran.success();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((lines[0], lines.len()), ("species,probability", 151));
    for line in &lines[1..] {
        let (label, probability) = line.split_once(',').expect("two columns");
        assert!(["setosa", "versicolor", "virginica"].contains(&label), "{line}");
        let probability: f64 = probability.parse().expect("a number");
        assert!((1.0 / 3.0..=1.0).contains(&probability), "{line}");
    }
}

#[test]
fn a_model_can_be_saved_under_a_name_without_directory() {
    let scratch = Scratch::new();
    let table = data("xor.csv");
    let output = crate::common::command()
        .current_dir(scratch.path(""))
        .args(["train", &table, "--epochs=2", "--save", "model.safetensors"])
        .output();
    crate::common::ran(output.expect("the command starts")).success();
    assert_eq!(scratch.names(), ["model.safetensors"]);
}

#[test]
fn damaged_model_files_are_refused_by_name_and_byte() {
    let scratch = Scratch::new();
    let model = small_model(&scratch, "model.safetensors");
    let bytes = fs::read(&model).unwrap_or_default();
    let table = data("iris.csv");
    let refusal = |content: &[u8]| {
        let damaged = scratch.file("damaged", content);
        let message = run(&["predict", text(&damaged), &table]).refusal();
        message.strip_prefix(&format!("{}: ", text(&damaged))).map(str::to_owned).unwrap_or(message)
    };
    for length in (0..bytes.len()).step_by(97) {
        let message = refusal(&bytes[..length]);
        assert!(message.contains("byte"), "{length}: {message}");
    }
    let message = refusal(&bytes[..bytes.len() - 1]);
    assert!(message.starts_with("tensor `") && message.contains("do not lie in"), "{message}");
    let mut nan = bytes.clone();
    let last = nan.len() - 8;
    nan[last..].copy_from_slice(&f64::NAN.to_le_bytes());
    let message = refusal(&nan);
    assert!(message.starts_with("tensor `") && message.ends_with(&format!("(byte {last} of the file)")), "{message}");
    let message = run(&["predict", &table, &table]).refusal();
    assert!(message.contains("not a safetensors file?"), "{message}");
}

#[test]
fn a_table_that_lacks_a_column_of_the_model_is_refused() {
    let scratch = Scratch::new();
    let model = small_model(&scratch, "model.safetensors");
    let message = run(&["predict", &model, &data("xor.csv")]).refusal();
    assert!(message.contains("no column is named `sepal length (cm)`, which the model wants"), "{message}");
}

#[test]
fn options_that_do_not_fit_the_target_are_refused() {
    let refusal = |arguments: &[&str]| run(&[&["train"], arguments].concat()).refusal();
    let (iris, cancer) = (data("iris.csv"), data("breast_cancer.csv"));
    assert!(refusal(&[&iris, "--loss=bce"]).contains("bce"));
    assert!(refusal(&[&iris, "--loss=mse"]).contains("mse"));
    assert!(refusal(&[&iris, "--target=1", "--loss=cross-entropy"]).contains("row 2, column `species`"));
    assert!(
        refusal(&[&cancer, "--task=regression"]).contains("column `diagnosis`: expected a number, found `malignant`")
    );
}

#[test]
fn every_loss_and_optimizer_trains() {
    let (iris, cancer) = (data("iris.csv"), data("breast_cancer.csv"));
    for optimizer in ["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"] {
        let out = run(&["train", &iris, "--optimizer", optimizer, "--epochs=30"]).success();
        assert!(accuracy(&out) >= 0.8, "{optimizer}: {out}");
    }
    for loss in ["bce", "cross-entropy"] {
        let out = run(&["train", &cancer, "--loss", loss, "--epochs=10"]).success();
        assert!(accuracy(&out) >= 0.9, "{loss}: {out}");
    }
    for activation in ["identity", "relu", "sigmoid", "softplus", "tanh"] {
        let out = run(&["train", &iris, "--activation", activation, "--epochs=50"]).success();
        assert!(accuracy(&out) >= 0.8, "{activation}: {out}");
    }
}

#[test]
fn labels_that_differ_in_their_text_are_different_classes() {
    let scratch = Scratch::new();
    for (labels, task) in [
        (["9007199254740992", "9007199254740993", "7"], "auto"),
        (["9007199254740992", "9007199254740993", "7"], "classification"),
        (["02134", "10001", "2134"], "classification"),
    ] {
        let rows: String = (0..60).map(|row| format!("{row},{}\n", labels[row / 20])).collect();
        let table = scratch.file("table.csv", format!("x,y\n{rows}"));
        let model = scratch.path("model.safetensors");
        let train = ["train", text(&table), "--task", task, "--quiet", "--save", text(&model)];
        assert!(run(&train).success().contains("3 classes"), "{labels:?}");
        let out = run(&["predict", text(&model), text(&table)]).success();
        assert!(out.lines().skip(1).all(|line| labels.contains(&line.split(',').next().unwrap_or(""))), "{out}");
        assert!(labels.iter().all(|label| out.contains(&format!("\n{label},"))), "{out}");
    }
}

#[test]
fn a_header_of_numbers_is_found_by_the_model_that_knows_it() {
    let scratch = Scratch::new();
    let rows = "5.1,3.5,1.4\n4.9,3.0,1.4\n7.0,3.2,4.7\n";
    let labelled: String = rows.lines().zip(["a", "a", "b"]).map(|(row, label)| format!("{row},{label}\n")).collect();
    let table = scratch.file("table.csv", format!("0,1,2,label\n{labelled}{labelled}"));
    let model = scratch.path("model.safetensors");
    let train = ["train", text(&table), "--header", "--epochs=1", "--quiet", "--save", text(&model)];
    assert!(run(&train).success().contains("2 classes"));
    let unlabelled = scratch.file("unlabelled.csv", format!("0,1,2\n{rows}"));
    assert_eq!(run(&["predict", text(&model), text(&unlabelled)]).success().lines().count(), 4);
    let refusal = run(&["train", text(&table)]).refusal();
    assert!(refusal.contains("row 1") && refusal.ends_with("say --header or --no-header"), "{refusal}");
}

#[test]
fn a_class_that_is_left_alone_is_named_as_the_user_does() {
    let scratch = Scratch::new();
    let table = scratch.file("table.csv", "a,y\n1,cat\n2,cat\n3,cat\n4,cat\n5,dog\n");
    let refusals =
        (1..=20).map(|seed| run(&["train", text(&table), "--quiet", "--epochs=1", &format!("--seed={seed}")]).err);
    let refusals: Vec<String> = refusals.filter(|err| !err.is_empty()).collect();
    assert!(!refusals.is_empty() && refusals.iter().all(|err| err.contains("are of class `cat`")), "{refusals:?}");
}

#[test]
fn the_largest_numbers_can_be_learned_from() {
    let scratch = Scratch::new();
    let rows: String = (0..20).map(|row| format!("{}1.7e308,{row}.5\n", if row % 3 == 0 { "-" } else { "" })).collect();
    let table = scratch.file("table.csv", format!("x,y\n{rows}"));
    run(&["train", text(&table), "--quiet", "--epochs=2"]).success();
}

#[test]
fn progress_is_on_standard_error_only_and_can_be_turned_off() {
    let table = data("iris.csv");
    let loud: Ran = run(&["train", &table, "--epochs=5"]);
    let quiet: Ran = run(&["train", &table, "--epochs=5", "--quiet"]);
    assert!(loud.err.contains("epoch    5 of 5") && !loud.out.contains("epoch    5 of 5"), "{loud:?}");
    assert_eq!((quiet.err.as_str(), quiet.out), ("", loud.out));
}
