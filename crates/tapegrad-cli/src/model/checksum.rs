//! Owns the checksum that shows damage to any byte of a model file.
//!
//! It stands in the metadata: eight hexadecimal digits, the CRC-32 (that of zip and PNG) of the whole file with the digit
//! 0 in their places. No flipped bit and no burst of up to 32 bits gets past it; of other damage one in 2³² does. Structure
//! is looked at before, for it can name the tensor to blame; the checksum is for what still makes sense: a weight that is
//! another number, a label that is another word.

use super::error::Problem;
use super::header::read_header;
use crc32fast::Hasher;
use std::ops::Range;

/// What stands where the checksum will.
pub(super) const NONE_YET: &str = "00000000";

/// How a metadata text with a checksum begins, as it stands in the header: JSON in a JSON string.
const BEGINNING: &str = r#""{\"version\":2,\"checksum\":\""#;

/// Where the digits stand in the file, given the metadata text as it stands in the header and its place in the file.
pub(super) fn digits_in(raw: &str, byte: usize) -> Option<Range<usize>> {
    let end = BEGINNING.len() + NONE_YET.len();
    (raw.starts_with(BEGINNING) && raw.len() > end).then(|| byte + BEGINNING.len()..byte + end)
}

/// Puts the checksum of a new file into its place.
pub(super) fn seal(file: &mut [u8]) -> Result<(), Problem> {
    let Some(digits) = read_header(file)?.digits else {
        return Err(Problem::new("no place for the checksum"));
    };
    let checksum = checksum(file, &digits);
    file[digits].copy_from_slice(checksum.as_bytes());
    Ok(())
}

/// The checksum of a file is the one that it states.
pub(super) fn verify(file: &[u8], digits: Option<Range<usize>>) -> Result<(), Problem> {
    let Some(digits) = digits else {
        return Err(Problem::new("the `tapegrad` metadata does not begin with its version and checksum"));
    };
    let (stated, found) = (&file[digits.clone()], checksum(file, &digits));
    if stated != found.as_bytes() {
        let stated = String::from_utf8_lossy(stated);
        let problem = format!("the file states the checksum {stated}, its bytes have {found}: damaged or edited");
        return Err(Problem::new(problem).at(digits.start));
    }
    Ok(())
}

fn checksum(file: &[u8], digits: &Range<usize>) -> String {
    let mut crc = Hasher::new();
    crc.update(&file[..digits.start]);
    crc.update(NONE_YET.as_bytes());
    crc.update(&file[digits.end..]);
    format!("{:08x}", crc.finalize())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_file_with_zeros_in_its_place() {
        // The check value of CRC-32: that of the digits 1 to 9.
        let mut crc = Hasher::new();
        crc.update(b"123456789");
        assert_eq!(crc.finalize(), 0xcbf4_3926);
        let with_zeros = [&b"before "[..], NONE_YET.as_bytes(), b" after"].concat();
        let wanted = format!("{:08x}", crc32fast::hash(&with_zeros));
        for digits in [NONE_YET, "89abcdef", &wanted] {
            let file = ["before ", digits, " after"].concat();
            assert_eq!(checksum(file.as_bytes(), &(7..15)), wanted);
        }
    }

    #[test]
    fn digits_stand_right_behind_the_version_or_nowhere() {
        let raw = r#""{\"version\":2,\"checksum\":\"00000000\",\"sizes\":[]}""#;
        let digits = digits_in(raw, 0).unwrap();
        assert_eq!(&raw[digits], NONE_YET);
        assert_eq!(digits_in(raw, 100).unwrap().start, 100 + BEGINNING.len());
        for other in [r#""{\"version\":1}""#, r#""{ \"version\":2,\"checksum\":\"00000000\"}""#, BEGINNING] {
            assert_eq!(digits_in(other, 0), None);
        }
    }
}
