//! Model files.

use crate::one_line;
use std::path::Path;
use tapegrad_cli::model::{Model, from_bytes, to_bytes};

/// The bytes as a model file: as they are, and with the checksum put right, for a fuzzer does not guess it.
///
/// # Panics
/// If a model that is read is not written, read again and the same, or a message is not one line.
pub fn model(data: &[u8]) {
    read(data);
    if let Some(sealed) = sealed(data) {
        read(&sealed);
    }
}

fn read(file: &[u8]) {
    let parse = |file: &[u8]| -> Result<Model, String> {
        from_bytes(file, Path::new("model")).map_err(|error| error.to_string())
    };
    match parse(file) {
        Ok(model) => {
            let again = to_bytes(&model).expect("a model that was read can be written");
            assert_eq!(parse(&again), Ok(model));
        }
        Err(message) => one_line(&message),
    }
}

/// The file with the checksum that its bytes have, if it has a place for one.
fn sealed(file: &[u8]) -> Option<Vec<u8>> {
    const BEFORE: &[u8] = br#""{\"version\":2,\"checksum\":\""#;
    let start = file.windows(BEFORE.len()).position(|window| window == BEFORE)? + BEFORE.len();
    let mut out = file.to_vec();
    out.get_mut(start..start + 8)?.fill(b'0');
    let checksum = format!("{:08x}", crc32fast::hash(&out));
    out[start..start + 8].copy_from_slice(checksum.as_bytes());
    Some(out)
}
