//! Owns the way from a [`Model`] to the bytes of a file.

use super::atomic::write_atomically;
use super::checksum;
use super::error::Problem;
use super::meta::{Meta, bias_name, weight_name};
use super::{MAX_HEADER_BYTES, Model, ModelError, Output};
use safetensors::Dtype;
use safetensors::tensor::{View, serialize};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

/// Writes a model to the file at `path`; see [`write_atomically`].
///
/// # Errors
///
/// If the model's parts do not fit together, or the file cannot be written. In both cases the
/// file that was at `path` is still there, unchanged, but for the one that [`write_atomically`] names.
pub fn write_model(path: &Path, model: &Model) -> Result<(), ModelError> {
    let bytes = to_bytes(model).map_err(|problem| Problem::new(problem).in_file(path))?;
    write_atomically(path, &bytes)
}

/// The bytes of a model file; the same model gives the same bytes.
///
/// # Errors
///
/// If the model's parts do not fit together: what is wrong.
pub fn to_bytes(model: &Model) -> Result<Vec<u8>, String> {
    let meta = Meta::of(model);
    meta.check()?;
    for (index, pair) in model.layers.windows(2).enumerate() {
        let (before, inputs) = (pair[0].outputs, pair[1].inputs);
        if inputs != before {
            return Err(format!("layer {} has {inputs} inputs, the layer before has {before} outputs", index + 1));
        }
    }
    let mut numbers: HashMap<String, &[f64]> = HashMap::new();
    numbers.insert("features.mean".into(), &model.scaling.mean);
    numbers.insert("features.std".into(), &model.scaling.std);
    if let Output::Number { scaling } = &model.output {
        numbers.insert("target.mean".into(), &scaling.mean);
        numbers.insert("target.std".into(), &scaling.std);
    }
    for (index, layer) in model.layers.iter().enumerate() {
        numbers.insert(weight_name(index), &layer.weight);
        numbers.insert(bias_name(index), &layer.bias);
    }
    let mut tensors = Vec::new();
    for (name, shape) in meta.tensors() {
        let data = numbers[&name];
        let wanted = shape.iter().product::<usize>();
        if data.len() != wanted {
            return Err(format!("tensor `{name}` has {} numbers, expected {wanted} for shape {shape:?}", data.len()));
        }
        if let Some(index) = data.iter().position(|number| !number.is_finite()) {
            return Err(format!("tensor `{name}`: number {index} is {}, expected a finite number", data[index]));
        }
        if name.ends_with(".std") && data.iter().any(|&std| std <= 0.0) {
            return Err(format!("tensor `{name}`: expected numbers greater than zero"));
        }
        tensors.push((name, Numbers { shape, data }));
    }
    let text = serde_json::to_string(&meta).map_err(|error| error.to_string())?;
    // One key only: the crate writes the map in the order of a hash map, which differs from run to run.
    let metadata = HashMap::from([("tapegrad".to_owned(), text)]);
    let mut file = serialize(tensors, Some(metadata)).map_err(|error| error.to_string())?;
    match file.first_chunk().map(|length| u64::from_le_bytes(*length)) {
        Some(length) if length <= MAX_HEADER_BYTES as u64 => {}
        _ => return Err(format!("names and labels take more than {} MiB", MAX_HEADER_BYTES >> 20)),
    }
    checksum::seal(&mut file).map_err(|problem| problem.text)?;
    Ok(file)
}

/// Numbers as the `safetensors` crate wants to see them.
struct Numbers<'a> {
    shape: Vec<usize>,
    data: &'a [f64],
}

impl View for Numbers<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F64
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.data.iter().flat_map(|number| number.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        8 * self.data.len()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::samples::models;

    #[test]
    fn the_same_model_gives_the_same_bytes() {
        for model in models() {
            assert_eq!(to_bytes(&model).unwrap(), to_bytes(&model.clone()).unwrap());
        }
    }

    #[test]
    fn a_model_whose_parts_do_not_fit_is_not_written() {
        let refusal = |change: fn(&mut Model)| {
            let mut model = models()[2].clone();
            change(&mut model);
            to_bytes(&model).unwrap_err()
        };
        assert_eq!(refusal(|model| model.layers.clear()), "0 layers, expected 1 to 1000");
        assert_eq!(
            refusal(|model| model.layers[0].weight.truncate(5)),
            "tensor `layer0.w` has 5 numbers, expected 6 for shape [2, 3]"
        );
        assert_eq!(refusal(|model| model.layers[1].inputs = 4), "layer 1 has 4 inputs, the layer before has 3 outputs");
        assert_eq!(
            refusal(|model| model.layers[0].bias[1] = f64::INFINITY),
            "tensor `layer0.b`: number 1 is inf, expected a finite number"
        );
        assert_eq!(
            refusal(|model| model.scaling.std[0] = 0.0),
            "tensor `features.std`: expected numbers greater than zero"
        );
    }
}
