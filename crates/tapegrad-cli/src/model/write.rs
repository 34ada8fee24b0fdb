//! Owns the way from a [`Model`] to the bytes of a file.

use super::atomic::write_atomically;
use super::checksum;
use super::error::Problem;
use super::meta::{Meta, bias_name, weight_name};
use super::{MAX_DATA_BYTES, MAX_HEADER_BYTES, Model, ModelError, Output};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo, View, serialize};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

/// Writes a model to the file at `path`; see [`write_atomically`].
///
/// # Errors
///
/// If the model's parts do not fit together or are more than is read again, or the file cannot be written. In all cases the
/// file that was at `path` is still there, unchanged, but for the one that [`write_atomically`] names.
pub fn write_model(path: &Path, model: &Model) -> Result<(), ModelError> {
    let bytes = to_bytes(model).map_err(|problem| Problem::new(problem).in_file(path))?;
    write_atomically(path, &bytes)
}

/// Finds out, before a long training, whether [`write_model`] would take the model: its layers need no weights and biases yet.
///
/// # Errors
///
/// If names, labels and sizes do not fit together, or they or the numbers to come are more than is read again.
pub fn check_model(path: &Path, model: &Model) -> Result<(), ModelError> {
    let meta = Meta::of(model);
    meta.check().and_then(|()| check_size(&meta)).map_err(|problem| Problem::new(problem).in_file(path))
}

/// The bytes of a model file; the same model gives the same bytes.
///
/// # Errors
///
/// If the model's parts do not fit together, or are more than is read again: what is wrong.
pub fn to_bytes(model: &Model) -> Result<Vec<u8>, String> {
    let meta = Meta::of(model);
    meta.check()?;
    check_size(&meta)?;
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
    let mut file = serialize(tensors, Some(metadata(&meta)?)).map_err(|error| error.to_string())?;
    checksum::seal(&mut file).map_err(|problem| problem.text)?;
    Ok(file)
}

/// A file of these names and sizes is not larger than what is read, whatever its numbers.
fn check_size(meta: &Meta) -> Result<(), String> {
    // The crate fills the header up to whole words of eight bytes, which the most that it may have is.
    if header(meta)?.len() > MAX_HEADER_BYTES {
        return Err(format!("names and labels take more than {} MiB", MAX_HEADER_BYTES >> 20));
    }
    Ok(())
}

/// The header as the crate will write it, but for spaces at its end.
///
/// # Errors
///
/// If there would be more numbers behind it than are read.
fn header(meta: &Meta) -> Result<String, String> {
    let mut tensors = meta.tensors();
    // The order in which the crate writes tensors of one type.
    tensors.sort();
    let mut end = 0_usize;
    let mut entries = Vec::with_capacity(tensors.len());
    for (name, shape) in tensors {
        let start = end;
        let bytes = shape.iter().try_fold(8_usize, |bytes, &size| bytes.checked_mul(size));
        end = bytes
            .and_then(|bytes| start.checked_add(bytes))
            .filter(|&end| end as u64 <= MAX_DATA_BYTES)
            .ok_or_else(|| format!("the numbers take more than {} MiB", MAX_DATA_BYTES >> 20))?;
        entries.push((name, TensorInfo { dtype: Dtype::F64, shape, data_offsets: (start, end) }));
    }
    let header = Metadata::new(Some(metadata(meta)?), entries).map_err(|error| error.to_string())?;
    serde_json::to_string(&header).map_err(|error| error.to_string())
}

/// What stands in the header beside the tensors.
fn metadata(meta: &Meta) -> Result<HashMap<String, String>, String> {
    let text = serde_json::to_string(meta).map_err(|error| error.to_string())?;
    // One key only: the crate writes the map in the order of a hash map, which differs from run to run.
    Ok(HashMap::from([("tapegrad".to_owned(), text)]))
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

    fn header_length(file: &[u8]) -> usize {
        u64::from_le_bytes(*file.first_chunk().unwrap()) as usize
    }

    #[test]
    fn the_header_is_known_before_the_numbers_are() {
        let mut deep = models()[0].clone();
        let last = deep.layers[1].clone();
        // The names of more than ten layers are not in the order of the layers.
        deep.layers.extend(std::iter::repeat_n(last, 11));
        for model in models().into_iter().chain([deep]) {
            let file = to_bytes(&model).unwrap();
            let written = str::from_utf8(&file[8..8 + header_length(&file)]).unwrap().trim_end();
            let known = header(&Meta::of(&model)).unwrap();
            assert_eq!(written.len(), known.len());
            let differing = written.bytes().zip(known.bytes()).filter(|(a, b)| a != b).count();
            assert!(differing <= checksum::NONE_YET.len(), "more than the checksum differs: {written} {known}");
        }
    }

    #[test]
    fn the_largest_header_is_written_and_none_that_is_larger() {
        let mut model = models()[2].clone();
        model.target.clear();
        let rest = header(&Meta::of(&model)).unwrap().len();
        model.target = "x".repeat(MAX_HEADER_BYTES - rest);
        check_model(Path::new("m"), &model).unwrap();
        assert_eq!(header_length(&to_bytes(&model).unwrap()), MAX_HEADER_BYTES);
        model.target.push('x');
        let too_large = "names and labels take more than 32 MiB";
        assert_eq!(check_model(Path::new("m"), &model).unwrap_err().to_string(), format!("m: {too_large}"));
        assert_eq!(to_bytes(&model).unwrap_err(), too_large);
    }

    #[test]
    fn more_numbers_than_are_read_are_not_written() {
        let with_hidden = |size: usize| {
            let mut model = models()[0].clone();
            for layer in &mut model.layers {
                layer.weight.clear();
                layer.bias.clear();
            }
            (model.layers[0].outputs, model.layers[1].inputs) = (size, size);
            model
        };
        let problem = |size: usize| check_model(Path::new("m"), &with_hidden(size)).map_err(|error| error.to_string());
        // Two weights in, three out, and a bias, for each; then three biases and four numbers of the features.
        let most = (MAX_DATA_BYTES as usize / 8 - 7) / 6;
        assert_eq!(problem(most), Ok(()));
        let too_many = "the numbers take more than 1024 MiB";
        for size in [most + 1, usize::MAX / 8, usize::MAX] {
            assert_eq!(problem(size), Err(format!("m: {too_many}")));
            assert_eq!(to_bytes(&with_hidden(size)).unwrap_err(), too_many);
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
