//! Owns the reading of a safetensors header, with the byte where each part of it stands.
//!
//! The `safetensors` crate reads headers too, but its errors name no tensor and no byte, and it
//! takes the last of two entries with one name. So everything that a hostile header can say is
//! looked at here first; the crate then reads a file that is known to be good.

use super::MAX_HEADER_BYTES;
use super::checksum::digits_in;
use super::error::Problem;
use crate::text::shown;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

/// The eight bytes before the header.
pub(super) const LENGTH_BYTES: usize = 8;

/// A header whose tensors tile the data without gap or overlap.
#[derive(Debug)]
pub(super) struct Header {
    /// The text under `tapegrad` in `__metadata__`, and the byte where `__metadata__` stands.
    pub(super) meta: (String, usize),
    /// Where in the file the digits of its checksum stand, if it has one.
    pub(super) digits: Option<Range<usize>>,
    /// The tensors, in the order of their data.
    pub(super) tensors: Vec<Entry>,
}

/// One tensor of the header.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) dtype: String,
    pub(super) shape: Vec<u64>,
    /// Where its numbers start in the file, and how many bytes they are.
    pub(super) start: usize,
    pub(super) length: usize,
    /// Where its entry in the header starts in the file.
    pub(super) byte: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// Reads the header of a whole file.
pub(super) fn read_header(file: &[u8]) -> Result<Header, Problem> {
    let Some((length, rest)) = file.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(Problem::new(format!(
            "{} bytes long, expected a header length of 8 bytes: not a safetensors file, or cut off",
            file.len()
        ))
        .at(0));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES as u64 {
        let problem = format!("header of {length} bytes, at most {MAX_HEADER_BYTES} are read: not a safetensors file?");
        return Err(Problem::new(problem).at(0));
    }
    let length = length as usize;
    let Some((header, data)) = rest.split_at_checked(length) else {
        let problem = format!("cut off: the header should be {length} bytes long, {} are there", rest.len());
        return Err(Problem::new(problem).at(file.len()));
    };
    let header = str::from_utf8(header)
        .map_err(|error| Problem::new("header is not UTF-8").at(LENGTH_BYTES + error.valid_up_to()))?;
    let Fields(fields) = parse(header, header)?;

    let mut meta = None;
    let mut tensors = Vec::with_capacity(fields.len());
    let mut names = HashSet::with_capacity(fields.len());
    let data_start = LENGTH_BYTES + length;
    for (name, value) in &fields {
        let byte = byte_of(header, value.get());
        if !names.insert(name) {
            return Err(Problem::new("is in the header twice").in_tensor(name).at(byte));
        }
        if name == "__metadata__" {
            meta = Some(read_meta(header, value.get()).map(|(text, digits)| ((text, byte), digits))?);
            continue;
        }
        let entry: RawEntry = parse(header, value.get()).map_err(|problem| problem.in_tensor(name))?;
        let (start, end) = entry.data_offsets;
        if start > end || end > data.len() as u64 {
            let held = data.len();
            let problem = format!("data offsets {start}..{end} do not lie in the {held} bytes of data; file cut off?");
            return Err(Problem::new(problem).in_tensor(name).at(byte));
        }
        tensors.push(Entry {
            name: name.clone(),
            dtype: entry.dtype,
            shape: entry.shape,
            // Both fit: they were found to lie in the data.
            start: data_start + start as usize,
            length: (end - start) as usize,
            byte,
        });
    }
    let Some((meta, digits)) = meta else {
        return Err(Problem::new("no `__metadata__` in the header: not written by tapegrad").at(LENGTH_BYTES));
    };
    tensors.sort_by_key(|entry| (entry.start, entry.length));
    check_tiling(&tensors, data_start, file.len())?;
    Ok(Header { meta, digits, tensors })
}

/// How many bytes of data a header claims, given the start of a file up to the end of the header:
/// what lets a reader stop in time. A start that is no header claims none; [`read_header`] says why.
pub(super) fn claimed_data(start: &[u8]) -> u64 {
    let header = start.get(LENGTH_BYTES..).and_then(|header| str::from_utf8(header).ok()).unwrap_or_default();
    let Ok(Fields(fields)) = parse(header, header) else { return 0 };
    let ends = fields.iter().filter_map(|(_, value)| serde_json::from_str::<RawEntry>(value.get()).ok());
    ends.map(|entry| entry.data_offsets.1).max().unwrap_or(0)
}

/// Every byte of the data belongs to one tensor.
fn check_tiling(tensors: &[Entry], data_start: usize, file_end: usize) -> Result<(), Problem> {
    let offsets = |entry: &Entry| {
        let start = entry.start - data_start;
        format!("{start}..{}", start + entry.length)
    };
    let mut end = data_start;
    let mut before: Option<&Entry> = None;
    for entry in tensors {
        if entry.start < end {
            let other = before.map_or(String::new(), |other| format!("{} {}", shown(&other.name), offsets(other)));
            let problem = format!("data offsets {} overlap {other}", offsets(entry));
            return Err(Problem::new(problem).in_tensor(&entry.name).at(entry.byte));
        }
        if entry.start > end {
            let problem = format!("data offsets {} leave a gap of {} bytes before", offsets(entry), entry.start - end);
            return Err(Problem::new(problem).in_tensor(&entry.name).at(entry.byte));
        }
        end += entry.length;
        before = Some(entry);
    }
    if end < file_end {
        return Err(Problem::new("bytes after the last tensor").at(end));
    }
    Ok(())
}

/// The metadata text, and where in the file its checksum stands.
fn read_meta(header: &str, value: &str) -> Result<(String, Option<Range<usize>>), Problem> {
    let Fields(fields) = parse(header, value)?;
    let mut found = None;
    for (key, value) in &fields {
        let text: String = parse(header, value.get())?;
        let digits = digits_in(value.get(), byte_of(header, value.get()));
        if key == "tapegrad" && found.replace((text, digits)).is_some() {
            return Err(Problem::new("`tapegrad` is in `__metadata__` twice").at(byte_of(header, value.get())));
        }
    }
    found.ok_or_else(|| {
        Problem::new("no `tapegrad` in `__metadata__`: not written by tapegrad").at(byte_of(header, value))
    })
}

/// Parses a part of the header; an error says at which byte of the file.
fn parse<'a, T: Deserialize<'a>>(header: &str, part: &'a str) -> Result<T, Problem> {
    serde_json::from_str(part).map_err(|error| {
        Problem::new(format!("header: {}", json_problem(&error))).at(byte_of(header, part) + json_offset(part, &error))
    })
}

/// The file offset of `part`, which is a slice of `header`.
fn byte_of(header: &str, part: &str) -> usize {
    LENGTH_BYTES + (part.as_ptr() as usize - header.as_ptr() as usize)
}

/// What is wrong with a JSON text, without the line and column that `serde_json` appends.
pub(super) fn json_problem(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    text[..end].chars().map(|character| if character.is_control() { ' ' } else { character }).take(200).collect()
}

/// Where in `text` a JSON error is, in bytes.
fn json_offset(text: &str, error: &serde_json::Error) -> usize {
    let line_start = match error.line() {
        0 | 1 => 0,
        line => text.match_indices('\n').nth(line - 2).map_or(0, |(newline, _)| newline + 1),
    };
    (line_start + error.column().saturating_sub(1)).min(text.len())
}

/// The fields of a JSON object as they stand there: in order, repetitions included.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Collect).map(Fields)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut out = (header.len() as u64).to_le_bytes().to_vec();
        out.extend_from_slice(header.as_bytes());
        out.resize(out.len() + data, 0);
        out
    }

    const META: &str = r#""__metadata__":{"tapegrad":"{}"}"#;

    fn refusal(tensors: &str, data: usize) -> (String, Option<String>, Option<u64>) {
        let Problem { place, text } = read_header(&file(&format!("{{{META},{tensors}}}"), data)).unwrap_err();
        (text, place.tensor, place.byte)
    }

    #[test]
    fn a_good_header_gives_the_tensors_in_the_order_of_their_data() {
        let b = r#""b":{"dtype":"F64","shape":[1],"data_offsets":[16,24]}"#;
        let a = r#""a":{"dtype":"F64","shape":[2,1],"data_offsets":[0,16]}"#;
        let header = format!("{{{b},{META},{a}}}");
        let found = read_header(&file(&header, 24)).unwrap();
        assert_eq!(found.meta.0, "{}");
        let names: Vec<_> = found.tensors.iter().map(|entry| (entry.name.as_str(), entry.length)).collect();
        assert_eq!(names, [("a", 16), ("b", 8)]);
        assert_eq!(found.tensors[0].start, 8 + header.len());
        assert_eq!(found.tensors[0].byte, 8 + header.find("{\"dtype\":\"F64\",\"shape\":[2").unwrap());
    }

    #[test]
    fn overlapping_gapped_and_outlying_offsets_name_the_tensor_and_the_byte() {
        let entry = |name: &str, start: u64, end: u64| {
            format!(r#""{name}":{{"dtype":"F64","shape":[1],"data_offsets":[{start},{end}]}}"#)
        };
        let second = (8 + 2 + META.len() + entry("a", 0, 8).len() + 1 + 4) as u64;
        let two = |start, end| refusal(&format!("{},{}", entry("a", 0, 8), entry("b", start, end)), 16);
        let b = Some("b".to_owned());
        assert_eq!(two(4, 12), ("data offsets 4..12 overlap `a` 0..8".into(), b.clone(), Some(second)));
        assert_eq!(two(0, 8).0, "data offsets 0..8 overlap `a` 0..8");
        assert_eq!(two(12, 16), ("data offsets 12..16 leave a gap of 4 bytes before".into(), b.clone(), Some(second)));
        let outside = "data offsets 8..24 do not lie in the 16 bytes of data; file cut off?";
        assert_eq!(two(8, 24), (outside.into(), b.clone(), Some(second)));
        assert!(two(16, 8).0.starts_with("data offsets 16..8 do not lie"));
        assert!(two(8, u64::MAX).0.starts_with("data offsets 8..18446744073709551615 do not lie"));
        let start = (8 + 2 + META.len() + entry("a", 0, 8).len() + 1 + 8) as u64;
        assert_eq!(refusal(&entry("a", 0, 8), 16), ("bytes after the last tensor".into(), None, Some(start)));
        assert_eq!(refusal(&format!("{0},{0}", entry("a", 0, 8)), 8).0, "is in the header twice");
    }

    #[test]
    fn bad_json_names_the_byte() {
        let (text, tensor, byte) = refusal(r#""a":{"dtype":"F64","shape":[1],"data_offsets":[0 8]}"#, 8);
        assert_eq!(text, "header: expected `,` or `]`");
        // Where an entry is no JSON, the name of the tensor is not known yet.
        assert_eq!(tensor, None);
        let expected = 8 + 2 + META.len() + r#""a":{"dtype":"F64","shape":[1],"data_offsets":[0 "#.len();
        assert_eq!(byte, Some(expected as u64));
        let (text, tensor, _) = refusal(r#""a":{"dtype":"F64","shape":[-1],"data_offsets":[0,8]}"#, 8);
        assert_eq!(
            (text.as_str(), tensor.as_deref()),
            ("header: invalid value: integer `-1`, expected u64", Some("a"))
        );
        let (text, ..) = refusal(r#""a":{"dtype":"F64","shape":[1],"data_offsets":[0,8],"x":1}"#, 8);
        assert!(text.starts_with("header: unknown field `x`"), "{text}");
        let (text, ..) = refusal(r#""a":[[[[[1]]]]]"#, 8);
        assert!(text.starts_with("header: invalid type"), "{text}");
    }

    #[test]
    fn a_header_that_lies_about_its_length_is_refused() {
        let problem = |file: &[u8]| read_header(file).unwrap_err();
        assert_eq!(problem(b"1234567").place.byte, Some(0));
        assert!(problem(&[0xff; 100]).text.starts_with("header of 18446744073709551615 bytes"));
        let mut long = file("{}", 3);
        long[0] = 100;
        let expected = "cut off: the header should be 100 bytes long, 5 are there";
        assert_eq!(problem(&long), Problem::new(expected).at(13));
        assert_eq!(problem(&file("", 0)).place.byte, Some(8));
        assert!(problem(&file("{}", 0)).text.starts_with("no `__metadata__`"));
        assert!(problem(&file(r#"{"__metadata__":{"format":"pt"}}"#, 0)).text.starts_with("no `tapegrad`"));
    }

    #[test]
    fn a_header_claims_the_data_up_to_the_last_offset() {
        let b = r#""b":{"dtype":"F64","shape":[1],"data_offsets":[16,24]}"#;
        let a = r#""a":{"dtype":"F64","shape":[2,1],"data_offsets":[0,16]}"#;
        assert_eq!(claimed_data(&file(&format!("{{{b},{META},{a}}}"), 0)), 24);
        assert_eq!(claimed_data(&file(&format!("{{{META}}}"), 0)), 0);
        for none in [&b""[..], b"1234567", &[0; 100], &file("{", 0), &[0xff; 20]] {
            assert_eq!(claimed_data(none), 0);
        }
    }

    #[test]
    fn a_deeply_nested_header_is_refused() {
        let deep = format!(r#"{{"a":{}}}"#, "[".repeat(1_000_000));
        assert!(read_header(&file(&deep, 0)).is_err());
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert!(read_header(&file(&deep, 0)).is_err());
    }
}
