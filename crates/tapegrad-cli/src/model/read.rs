//! Owns the way from bytes to a [`Model`]: nothing in a file is believed before it is checked.

use super::checksum;
use super::error::Problem;
use super::header::{Entry, Header, LENGTH_BYTES, claimed_data, read_header};
use super::meta::{Meta, OutputKind, bias_name, weight_name};
use super::{Layer, MAX_DATA_BYTES, MAX_HEADER_BYTES, Model, ModelError, Output, Scaling};
use safetensors::SafeTensors;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads the model in the file at `path`.
///
/// # Errors
///
/// If the file cannot be read, is cut off, has bytes too many, or is in any other way not what
/// [`write_model`](super::write_model) writes; the error names the tensor and the byte to blame.
pub fn read_model(path: &Path) -> Result<Model, ModelError> {
    from_bytes(&read_file(path)?, path)
}

/// Reads a model from the bytes of a file; `path` is for the message of an error.
///
/// # Errors
///
/// As [`read_model`].
pub fn from_bytes(file: &[u8], path: &Path) -> Result<Model, ModelError> {
    parse(file).map_err(|problem| problem.in_file(path))
}

fn read_file(path: &Path) -> Result<Vec<u8>, ModelError> {
    let fail = |problem: String| Problem::new(problem).in_file(path);
    let cannot_read = |error: io::Error| fail(format!("cannot be read: {error}"));
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => fail("no such file".into()),
        io::ErrorKind::PermissionDenied => fail("permission denied".into()),
        _ => cannot_read(error),
    })?;
    if file.metadata().map_err(cannot_read)?.is_dir() {
        return Err(fail("is a directory, expected a model file".into()));
    }
    // Read in three parts, each no longer than the one before says, so that an endless or foreign
    // file is not read to its end; what a device says about its own length is worth nothing.
    let mut bytes = Vec::new();
    let read = |bytes: &mut Vec<u8>, length: u64| (&file).take(length).read_to_end(bytes).map_err(cannot_read);
    read(&mut bytes, LENGTH_BYTES as u64)?;
    let header = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    if header <= MAX_HEADER_BYTES as u64 {
        read(&mut bytes, header)?;
        let data = claimed_data(&bytes);
        if data > MAX_DATA_BYTES {
            return Err(fail(format!("{data} bytes of data, at most {MAX_DATA_BYTES} are read")));
        }
        // One more, to see whether the file ends there.
        read(&mut bytes, data + 1)?;
    }
    Ok(bytes)
}

fn parse(file: &[u8]) -> Result<Model, Problem> {
    let Header { meta: (text, meta_byte), digits, tensors } = read_header(file)?;
    let meta = Meta::from_json(&text).map_err(|problem| problem.at(meta_byte))?;
    check_tensors(&meta, &tensors)?;
    let has_checksum = meta.checksum.is_some();
    let starts: HashMap<&str, usize> = tensors.iter().map(|entry| (entry.name.as_str(), entry.start)).collect();
    let crate_problem = |error: safetensors::SafeTensorError| Problem::new(error.to_string());
    let views = SafeTensors::deserialize(file).map_err(crate_problem)?;
    let numbers = |name: &str| -> Result<Vec<f64>, Problem> {
        let view = views.tensor(name).map_err(crate_problem)?;
        let numbers: Vec<f64> = view.data().as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        match numbers.iter().position(|number| !number.is_finite()) {
            Some(index) => {
                let problem = format!("number {index} is {}, expected a finite number", numbers[index]);
                Err(Problem::new(problem).in_tensor(name).at(starts[name] + 8 * index))
            }
            None => Ok(numbers),
        }
    };
    let scaling = |columns: &str| -> Result<Scaling, Problem> {
        let name = format!("{columns}.std");
        let std = numbers(&name)?;
        if let Some(index) = std.iter().position(|&std| std <= 0.0) {
            let problem = format!("number {index} is {}, expected one greater than zero", std[index]);
            return Err(Problem::new(problem).in_tensor(&name).at(starts[name.as_str()] + 8 * index));
        }
        Ok(Scaling { mean: numbers(&format!("{columns}.mean"))?, std })
    };
    let mut layers = Vec::with_capacity(meta.activations.len());
    for (index, (sizes, &activation)) in meta.sizes.windows(2).zip(&meta.activations).enumerate() {
        let (weight, bias) = (numbers(&weight_name(index))?, numbers(&bias_name(index))?);
        layers.push(Layer { inputs: sizes[0], outputs: sizes[1], activation, weight, bias });
    }
    let output = match (meta.output, <[String; 2]>::try_from(meta.labels)) {
        (OutputKind::Number, _) => Output::Number { scaling: scaling("target")? },
        (OutputKind::Sigmoid, Ok(labels)) => Output::Sigmoid { labels },
        (OutputKind::Softmax, Ok(labels)) => Output::Softmax { labels: labels.into() },
        (OutputKind::Softmax, Err(labels)) => Output::Softmax { labels },
        (OutputKind::Sigmoid, Err(_)) => return Err(Problem::new("two labels expected").at(meta_byte)),
    };
    let scaling = scaling("features")?;
    // Last, because all before it says what is wrong with more words.
    if has_checksum {
        checksum::verify(file, digits)?;
    }
    Ok(Model { output, layers, features: meta.features, scaling, target: meta.target, seed: meta.seed })
}

/// The file has the tensors that the metadata promises, no others, each of the right size.
fn check_tensors(meta: &Meta, tensors: &[Entry]) -> Result<(), Problem> {
    let mut left: HashMap<&str, &Entry> = tensors.iter().map(|entry| (entry.name.as_str(), entry)).collect();
    for (name, shape) in meta.tensors() {
        let Some(entry) = left.remove(name.as_str()) else {
            return Err(Problem::new("is missing").in_tensor(&name));
        };
        let refuse = |problem: String| Err(Problem::new(problem).in_tensor(&name).at(entry.byte));
        if entry.dtype != "F64" {
            return refuse(format!("dtype {}, expected F64", crate::text::shown(&entry.dtype)));
        }
        let same = entry.shape.len() == shape.len()
            && entry.shape.iter().zip(&shape).all(|(&found, &wanted)| found == wanted as u64);
        if !same {
            let found: Vec<_> = entry.shape.iter().take(8).collect();
            return refuse(format!("shape {found:?}, expected {shape:?}"));
        }
        let bytes = shape.iter().try_fold(8_usize, |bytes, &size| bytes.checked_mul(size));
        if bytes != Some(entry.length) {
            return refuse(format!("{} bytes of data for shape {shape:?} of F64", entry.length));
        }
    }
    match left.into_values().min_by_key(|entry| entry.start) {
        Some(entry) => Err(Problem::new("unexpected tensor").in_tensor(&entry.name).at(entry.byte)),
        None => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::samples::models;
    use crate::model::to_bytes;

    fn refusal(file: &[u8]) -> String {
        let message = from_bytes(file, Path::new("m")).unwrap_err().to_string();
        assert!(!message.contains('\n'), "{message}");
        message.strip_prefix("m: ").unwrap().to_owned()
    }

    fn sample() -> Vec<u8> {
        to_bytes(&models()[0]).unwrap()
    }

    /// The sample with one place of its header replaced by text of the same length.
    fn edited(from: &str, to: &str) -> Vec<u8> {
        assert_eq!(from.len(), to.len());
        let mut file = sample();
        let place = file.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        file[place..place + to.len()].copy_from_slice(to.as_bytes());
        file
    }

    /// The sample with its header replaced by one of another length.
    fn with_header(change: impl Fn(&str) -> String) -> Vec<u8> {
        let file = sample();
        let length = u64::from_le_bytes(*file.first_chunk().unwrap()) as usize;
        let header = change(str::from_utf8(&file[8..8 + length]).unwrap());
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &file[8 + length..]].concat()
    }

    #[test]
    fn a_model_read_back_is_the_model_written() {
        for model in models() {
            let file = to_bytes(&model).unwrap();
            assert_eq!(from_bytes(&file, Path::new("m")).unwrap(), model);
        }
    }

    #[test]
    fn a_file_cut_off_anywhere_is_refused() {
        let file = sample();
        for length in 0..file.len() {
            assert!(from_bytes(&file[..length], Path::new("m")).is_err(), "cut to {length} of {}", file.len());
        }
    }

    #[test]
    fn a_file_with_bytes_too_many_is_refused() {
        let mut file = sample();
        let end = file.len();
        file.extend([0; 8]);
        assert_eq!(refusal(&file), format!("bytes after the last tensor (byte {end} of the file)"));
    }

    #[test]
    fn a_damaged_byte_is_refused_wherever_it_is() {
        let file = sample();
        for place in 0..file.len() {
            for damage in [0x01, 0x20, 0x22, 0x39, 0x5c, 0x7b, 0x80, 0xff] {
                let mut damaged = file.clone();
                damaged[place] ^= damage;
                assert!(from_bytes(&damaged, Path::new("m")).is_err(), "byte {place} with {damage:#x}");
            }
        }
    }

    #[test]
    fn damage_that_makes_sense_is_found_by_the_checksum() {
        let mut file = sample();
        let digits = file.windows(5).position(|window| window == b"sum\\\"").unwrap() + 8;
        let last = file.len() - 8;
        file[last] ^= 1;
        let message = refusal(&file);
        assert!(message.starts_with("the file states the checksum "), "{message}");
        assert!(message.ends_with(&format!(": damaged or edited (byte {digits} of the file)")), "{message}");
        assert!(refusal(&edited(r#"\"kind\""#, r#"\"mind\""#)).contains("damaged or edited"));
        assert!(refusal(&edited(r#"{\"version\""#, r#"{\"Version\""#)).contains("missing field `version`"));
        let message = refusal(&with_header(|header| header.replacen(r#"{\"version\""#, r#"{ \"version\""#, 1)));
        assert!(
            message.starts_with("the `tapegrad` metadata does not begin with its version and checksum"),
            "{message}"
        );
    }

    #[test]
    fn a_file_of_the_first_version_has_no_checksum_and_is_read() {
        let file = include_bytes!("../../tests/data/version-1.safetensors");
        let model = from_bytes(file, Path::new("m")).unwrap();
        assert_eq!((model.features.join(","), model.layers.len(), model.seed), ("a,b".to_owned(), 2, 5));
        let again = to_bytes(&model).unwrap();
        assert_eq!(from_bytes(&again, Path::new("m")).unwrap(), model);
    }

    #[test]
    fn wrong_dtypes_and_shapes_name_the_tensor_and_the_byte() {
        let message = refusal(&edited(r#"F64","shape":[3,3]"#, r#"I64","shape":[3,3]"#));
        assert!(message.starts_with("tensor `layer1.w`: dtype `I64`, expected F64 (byte "), "{message}");
        let message = refusal(&edited("[2,3]", "[3,2]"));
        assert!(message.starts_with("tensor `layer0.w`: shape [3, 2], expected [2, 3] (byte "), "{message}");
        let huge = with_header(|header| header.replacen("[2,3]", "[9223372036854775808,9223372036854775808]", 1));
        let message = refusal(&huge);
        assert!(message.contains("shape [9223372036854775808, 9223372036854775808], expected [2, 3]"), "{message}");
        let message = refusal(&with_header(|header| header.replacen("[2,3]", "[99999999999999999999,1]", 1)));
        assert!(message.starts_with("tensor `layer0.w`: header: "), "{message}");
    }

    #[test]
    fn sizes_that_overflow_are_refused_by_the_missing_data() {
        let file = with_header(|header| {
            header.replacen(r#"\"sizes\":[2,3,3]"#, r#"\"sizes\":[2,9223372036854775808,3]"#, 1).replacen(
                r#""shape":[2,3]"#,
                r#""shape":[2,9223372036854775808]"#,
                1,
            )
        });
        let message = refusal(&file);
        assert!(message.contains("bytes of data for shape [2, 9223372036854775808] of F64"), "{message}");
    }

    #[test]
    fn missing_and_unexpected_tensors_are_named() {
        assert_eq!(refusal(&edited("layer1.b", "layer1.c")), "tensor `layer1.b`: is missing");
        let message = refusal(&with_header(|header| {
            let end = header.rfind('}').unwrap();
            let data = sample().len() - 8 - header.len();
            format!(r#"{},"more":{{"dtype":"F64","shape":[0],"data_offsets":[{data},{data}]}}}}"#, &header[..end])
        }));
        assert!(message.starts_with("tensor `more`: unexpected tensor (byte "), "{message}");
    }

    #[test]
    fn numbers_that_are_not_finite_name_the_tensor_and_the_byte() {
        let mut model = models()[0].clone();
        model.layers[1].weight[4] = 1.25e-77;
        let mut file = to_bytes(&model).unwrap();
        let place = file.windows(8).position(|window| window == 1.25e-77_f64.to_le_bytes()).unwrap();
        file[place..place + 8].copy_from_slice(&f64::NAN.to_le_bytes());
        assert_eq!(
            refusal(&file),
            format!("tensor `layer1.w`: number 4 is NaN, expected a finite number (byte {place} of the file)")
        );
        let mut model = models()[0].clone();
        model.scaling.std[1] = 1.25e-77;
        let mut file = to_bytes(&model).unwrap();
        let place = file.windows(8).position(|window| window == 1.25e-77_f64.to_le_bytes()).unwrap();
        file[place..place + 8].fill(0);
        assert!(refusal(&file).starts_with("tensor `features.std`: number 1 is 0, expected one greater than zero"));
    }

    #[test]
    fn other_files_are_refused() {
        assert!(refusal(b"").starts_with("0 bytes long, expected a header length"));
        assert!(refusal(b"a,b,c\n1,2,3\n").starts_with("header of "));
        assert!(refusal(b"\x02\0\0\0\0\0\0\0{}").contains("not written by tapegrad"));
        let directory = tempfile::tempdir().unwrap();
        let message = |path: &Path| read_model(path).unwrap_err().to_string();
        assert!(message(directory.path()).ends_with("is a directory, expected a model file"));
        assert!(message(&directory.path().join("none")).ends_with("none: no such file"));
    }

    #[test]
    fn a_file_is_read_no_further_than_its_header_says() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model");
        let write = |bytes: &[u8]| std::fs::write(&path, bytes).unwrap();
        write(&sample());
        assert_eq!(read_model(&path).unwrap(), models()[0]);
        let mut long = sample();
        long.extend(vec![0; 1 << 20]);
        write(&long);
        assert_eq!(read_file(&path).unwrap().len(), sample().len() + 1);
        assert!(read_model(&path).is_err());
        write(&with_header(|header| header.replacen("\"data_offsets\":[0,", "\"data_offsets\":[0,99999999999", 1)));
        assert!(read_model(&path).unwrap_err().to_string().contains("bytes of data, at most"));
        #[cfg(unix)]
        assert!(read_model(Path::new("/dev/zero")).is_err());
    }
}
