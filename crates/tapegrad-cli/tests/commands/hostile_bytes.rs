//! Files made of anything at all: they are read or refused with one line, and never panic.

use proptest::prelude::*;
use std::path::Path;
use tapegrad_cli::model::{Activation, Layer, Model, Output, Scaling, from_bytes, to_bytes};
use tapegrad_cli::table::{ReadOptions, Target, Task, Wanted, read_features, read_table};

/// Bytes that look like a table, more or less.
fn tables() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(&b","[..]), 4 => Just(&b"1"[..]), 2 => Just(&b"-2.5e3"[..]), 3 => Just(&b"\n"[..]),
        1 => Just(&b"\r\n"[..]), 1 => Just(&b"\r"[..]), 1 => Just(&b"\""[..]), 1 => Just(&b";"[..]),
        1 => Just(&b"\t"[..]), 1 => Just(&b"nan"[..]), 1 => Just(&b"x"[..]), 1 => Just(&b" "[..]),
        1 => Just(&b"\xff"[..]), 1 => Just(&b"\0"[..]), 1 => Just("é".as_bytes()), 1 => Just(&b"\xef\xbb\xbf"[..]),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn model() -> Model {
    let layer = |inputs: usize, outputs: usize| Layer {
        inputs,
        outputs,
        activation: Activation::Tanh,
        weight: vec![0.5; inputs * outputs],
        bias: vec![-0.25; outputs],
    };
    Model {
        output: Output::Number { scaling: Scaling { mean: vec![1.0], std: vec![2.0] } },
        layers: vec![layer(2, 3), layer(3, 1)],
        features: vec!["a".into(), "b".into()],
        scaling: Scaling { mean: vec![0.0; 2], std: vec![1.0; 2] },
        target: "y".into(),
        seed: 7,
    }
}

proptest! {
    #[test]
    fn a_table_is_whole_or_refused_in_one_line(bytes in tables(), header in any::<Option<bool>>()) {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(&file, &bytes)?;
        let path = file.path();
        for task in [Task::Auto, Task::Classification, Task::Regression] {
            match read_table(path, ReadOptions { target: None, task, header }) {
                Ok(table) => {
                    prop_assert_eq!(table.values.len(), table.rows * table.features.len());
                    prop_assert!(table.values.iter().all(|value| value.is_finite()));
                    let (count, sound) = match &table.target {
                        Target::Numbers(values) => (values.len(), values.iter().all(|value| value.is_finite())),
                        Target::Classes { labels, codes } =>
                            (codes.len(), labels.len() >= 2 && codes.iter().all(|&code| (code as usize) < labels.len())),
                    };
                    prop_assert!(count == table.rows && sound);
                }
                Err(error) => prop_assert_eq!(error.to_string().lines().count(), 1),
            }
        }
        let features = ["1".to_owned(), "x".to_owned()];
        let wanted = Wanted { features: &features, target: "y", labels: &[], header };
        if let Err(error) = read_features(path, wanted) {
            prop_assert_eq!(error.to_string().lines().count(), 1);
        }
    }

    #[test]
    fn a_model_with_damage_is_whole_or_refused_in_one_line(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        cut_off in any::<bool>(),
    ) {
        let mut bytes = to_bytes(&model()).map_err(TestCaseError::fail)?;
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if cut_off {
            bytes.truncate(cut.index(bytes.len()));
        }
        match from_bytes(&bytes, Path::new("model")) {
            Ok(model) => prop_assert!(to_bytes(&model).is_ok()),
            Err(error) => prop_assert_eq!(error.to_string().lines().count(), 1),
        }
    }

    #[test]
    fn a_model_of_random_bytes_is_refused(
        header in "[{}\\[\\]\",:a-z0-9._\\\\ -]{0,80}",
        data in proptest::collection::vec(any::<u8>(), 0..40),
        whole in any::<bool>(),
    ) {
        let mut bytes = if whole { (header.len() as u64).to_le_bytes().to_vec() } else { Vec::new() };
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend(data);
        let refused = from_bytes(&bytes, Path::new("model"));
        prop_assert!(refused.is_err());
    }
}
