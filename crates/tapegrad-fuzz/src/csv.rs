//! Tables.

use crate::one_line;
use std::io::Write;
use tapegrad_cli::table::{Points, ReadOptions, Target, Task, Wanted, read_features, read_table};

/// The first byte says how the rest is read as a table.
///
/// # Panics
/// If what is read is not whole, or a message is not one line.
pub fn csv(data: &[u8]) {
    let Some((&how, table)) = data.split_first() else { return };
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    file.write_all(table).expect("a temporary file can be written");
    let header: Option<bool> = [None, Some(true), Some(false)][how as usize % 3];
    let task = [Task::Auto, Task::Classification, Task::Regression][how as usize / 3 % 3];
    let target = [None, Some("y"), Some("1")][how as usize / 9 % 3];
    match read_table(file.path(), ReadOptions { target, task, header }) {
        Ok(table) => {
            assert_eq!(table.values.len(), table.rows * table.features.len());
            assert!(table.values.iter().all(|value| value.is_finite()));
            match &table.target {
                Target::Numbers(values) => {
                    assert!(values.len() == table.rows && values.iter().all(|value| value.is_finite()));
                }
                Target::Classes { labels, codes } => {
                    assert!(codes.len() == table.rows && codes.iter().all(|&code| (code as usize) < labels.len()));
                }
            }
            // What a model of this table would want is in it.
            let labels = if let Target::Classes { labels, .. } = &table.target { &labels[..] } else { &[] };
            let wanted = Wanted { features: &table.features, target: &table.target_name, labels, header };
            match read_features(file.path(), wanted) {
                Ok(features) => assert_eq!((features.rows, features.values), (table.rows, table.values)),
                Err(error) => panic!("read for training, refused for prediction: {error}"),
            }
        }
        Err(error) => one_line(&error.to_string()),
    }
    let features = ["1".to_owned(), "x".to_owned()];
    let wanted = Wanted { features: &features, target: "y", labels: &["a".to_owned(), "1".to_owned()], header };
    if let Err(error) = read_features(file.path(), wanted) {
        one_line(&error.to_string());
    }
    match Points::open(file.path()) {
        Ok(points) => {
            let columns: Vec<usize> = (0..points.names().len().min(3)).collect();
            match points.read(&columns) {
                Ok(values) => assert!(values.iter().flatten().all(|value| value.is_finite())),
                Err(error) => one_line(&error.to_string()),
            }
        }
        Err(error) => one_line(&error.to_string()),
    }
}
