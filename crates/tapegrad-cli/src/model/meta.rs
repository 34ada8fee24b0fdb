//! Owns the JSON text that travels in a model file beside the numbers.

use super::checksum;
use super::error::Problem;
use super::header::json_problem;
use super::{Activation, MAX_LAYERS, Model, Output};
use crate::text::shown;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// The version of the format that is written. Version 1, which had no checksum, is read too.
pub const FORMAT_VERSION: u64 = 2;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Meta {
    // These two come first, for the checksum is found by its place.
    pub(super) version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) checksum: Option<String>,
    /// Sizes from the inputs to the outputs: one more than there are layers.
    pub(super) sizes: Vec<usize>,
    /// One per layer.
    pub(super) activations: Vec<Activation>,
    pub(super) output: OutputKind,
    pub(super) features: Vec<String>,
    pub(super) target: String,
    /// Class labels; empty if the output is a number.
    pub(super) labels: Vec<String>,
    pub(super) seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OutputKind {
    Softmax,
    Sigmoid,
    Number,
}

/// What every version of the format has.
#[derive(Deserialize)]
struct AnyVersion {
    version: u64,
}

impl Meta {
    pub(super) fn of(model: &Model) -> Meta {
        let inputs = model.layers.first().map_or(0, |layer| layer.inputs);
        Meta {
            version: FORMAT_VERSION,
            checksum: Some(checksum::NONE_YET.to_owned()),
            sizes: std::iter::once(inputs).chain(model.layers.iter().map(|layer| layer.outputs)).collect(),
            activations: model.layers.iter().map(|layer| layer.activation).collect(),
            output: match &model.output {
                Output::Softmax { .. } => OutputKind::Softmax,
                Output::Sigmoid { .. } => OutputKind::Sigmoid,
                Output::Number { .. } => OutputKind::Number,
            },
            features: model.features.clone(),
            target: model.target.clone(),
            labels: model.output.labels().to_vec(),
            seed: model.seed,
        }
    }

    pub(super) fn from_json(text: &str) -> Result<Meta, Problem> {
        let bad_json = |error: &serde_json::Error| {
            let (line, column) = (error.line(), error.column());
            Problem::new(format!("`tapegrad` metadata, line {line}, column {column}: {}", json_problem(error)))
        };
        let AnyVersion { version } = serde_json::from_str(text).map_err(|error| bad_json(&error))?;
        if !(1..=FORMAT_VERSION).contains(&version) {
            return Err(Problem::new(format!("format version {version}, only 1 to {FORMAT_VERSION} are known")));
        }
        let meta: Meta = serde_json::from_str(text).map_err(|error| bad_json(&error))?;
        match (version, &meta.checksum) {
            (1, Some(_)) => return Err(Problem::new("a checksum, which format version 1 does not have")),
            (2.., None) => return Err(Problem::new(format!("no checksum, which format version {version} has"))),
            _ => {}
        }
        meta.check().map_err(Problem::new)?;
        Ok(meta)
    }

    /// The parts agree with each other.
    pub(super) fn check(&self) -> Result<(), String> {
        let layers = self.activations.len();
        if layers == 0 || layers > MAX_LAYERS {
            return Err(format!("{layers} layers, expected 1 to {MAX_LAYERS}"));
        }
        if self.sizes.len() != layers + 1 {
            return Err(format!("{} layer sizes for {layers} layers, expected {}", self.sizes.len(), layers + 1));
        }
        if self.sizes.contains(&0) {
            return Err("a layer of size 0".into());
        }
        if self.sizes[0] != self.features.len() {
            return Err(format!("{} features for {} inputs", self.features.len(), self.sizes[0]));
        }
        let outputs = self.sizes[layers];
        let (labels, wanted) = match self.output {
            OutputKind::Softmax => (self.labels.len().max(2), self.labels.len()),
            OutputKind::Sigmoid => (2, 1),
            OutputKind::Number => (0, 1),
        };
        if self.labels.len() != labels || outputs != wanted {
            let kind = match self.output {
                OutputKind::Softmax => "softmax",
                OutputKind::Sigmoid => "sigmoid",
                OutputKind::Number => "number",
            };
            return Err(format!("{} labels and {outputs} outputs do not fit output kind {kind}", self.labels.len()));
        }
        no_repetition("feature", &self.features)?;
        no_repetition("label", &self.labels)
    }

    /// Name and shape of every tensor that the file must have.
    pub(super) fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let mut out = Vec::new();
        for part in ["mean", "std"] {
            out.push((format!("features.{part}"), vec![self.features.len()]));
            if self.output == OutputKind::Number {
                out.push((format!("target.{part}"), vec![1]));
            }
        }
        for (layer, sizes) in self.sizes.windows(2).enumerate() {
            out.push((weight_name(layer), sizes.to_vec()));
            out.push((bias_name(layer), vec![sizes[1]]));
        }
        out
    }
}

pub(super) fn weight_name(layer: usize) -> String {
    format!("layer{layer}.w")
}

pub(super) fn bias_name(layer: usize) -> String {
    format!("layer{layer}.b")
}

fn no_repetition(thing: &str, names: &[String]) -> Result<(), String> {
    let mut seen = HashSet::with_capacity(names.len());
    match names.iter().find(|name| !seen.insert(name.as_str())) {
        Some(name) => Err(format!("{thing} {} is there twice", shown(name))),
        None => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::samples::models;
    use serde_json::{Value, json};

    fn refusal(change: impl Fn(&mut Value)) -> String {
        let mut meta = serde_json::to_value(Meta::of(&models()[0])).unwrap();
        change(&mut meta);
        Meta::from_json(&meta.to_string()).unwrap_err().text
    }

    #[test]
    fn metadata_survives_json() {
        for model in models() {
            let text = serde_json::to_string(&Meta::of(&model)).unwrap();
            let again = Meta::from_json(&text).unwrap();
            assert_eq!(serde_json::to_string(&again).unwrap(), text);
        }
    }

    #[test]
    fn an_unknown_version_is_refused_before_anything_else() {
        assert_eq!(refusal(|meta| meta["version"] = json!(3)), "format version 3, only 1 to 2 are known");
        assert_eq!(refusal(|meta| meta["version"] = json!(0)), "format version 0, only 1 to 2 are known");
        let text = r#"{"version":7,"something":"new"}"#;
        assert_eq!(Meta::from_json(text).unwrap_err().text, "format version 7, only 1 to 2 are known");
        assert!(refusal(|meta| meta["version"] = json!("1")).contains("invalid type: string"));
        assert!(Meta::from_json("{}").unwrap_err().text.contains("missing field `version`"));
    }

    #[test]
    fn a_checksum_is_there_from_the_second_version_on() {
        let message = refusal(|meta| meta["version"] = json!(1));
        assert_eq!(message, "a checksum, which format version 1 does not have");
        let message = refusal(|meta| drop(meta.as_object_mut().unwrap().remove("checksum")));
        assert_eq!(message, "no checksum, which format version 2 has");
    }

    #[test]
    fn metadata_that_disagrees_with_itself_is_refused() {
        assert_eq!(refusal(|meta| meta["sizes"] = json!([2, 3])), "2 layer sizes for 2 layers, expected 3");
        assert_eq!(refusal(|meta| meta["sizes"] = json!([2, 0, 3])), "a layer of size 0");
        assert_eq!(refusal(|meta| meta["sizes"] = json!([5, 3, 3])), "2 features for 5 inputs");
        assert_eq!(refusal(|meta| meta["activations"] = json!([])), "0 layers, expected 1 to 1000");
        assert_eq!(
            refusal(|meta| meta["sizes"] = json!([2, 3, 4])),
            "3 labels and 4 outputs do not fit output kind softmax"
        );
        assert_eq!(
            refusal(|meta| meta["output"] = json!("number")),
            "3 labels and 3 outputs do not fit output kind number"
        );
        assert_eq!(refusal(|meta| meta["labels"] = json!(["x", "y", "x"])), "label `x` is there twice");
        assert_eq!(refusal(|meta| meta["features"] = json!(["a", "a"])), "feature `a` is there twice");
        assert!(refusal(|meta| meta["activations"][0] = json!("gelu")).contains("unknown variant `gelu`"));
        assert!(refusal(|meta| meta["extra"] = json!(1)).contains("unknown field `extra`"));
    }
}
