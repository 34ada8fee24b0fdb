//! Owns the bytes of a CSV file on their way to the CSV reader: counts lines and limits records.
//!
//! The `csv` crate counts a line feed that follows a carriage return, and blank lines, as part of
//! the record after them, so its line numbers drift; here each line that is not blank is noted
//! with the offset of its first byte, and a record is looked up by where it starts. The notes
//! reach as far as the CSV reader has read ahead, no further.

use std::collections::VecDeque;
use std::io::{self, Read};

/// A reader that knows on which line each record starts and refuses to read an endless one.
#[derive(Debug)]
pub(super) struct Lines<R> {
    inner: R,
    offset: u64,
    line: u64,
    at_line_start: bool,
    after_carriage_return: bool,
    /// Offset of the first byte, and number, of every line read ahead that is not blank.
    starts: VecDeque<(u64, u64)>,
    limit: usize,
    since_record: usize,
    over_limit: bool,
}

impl<R: Read> Lines<R> {
    /// `limit` is the most bytes that may be read for one record, read-ahead included.
    pub(super) fn new(inner: R, limit: usize) -> Self {
        Lines {
            inner,
            offset: 0,
            line: 1,
            at_line_start: true,
            after_carriage_return: false,
            starts: VecDeque::new(),
            limit,
            since_record: 0,
            over_limit: false,
        }
    }

    /// To be called before each record: from here its bytes are counted.
    pub(super) fn begin_record(&mut self) {
        self.since_record = 0;
    }

    /// Whether the last read failed because one record is longer than the limit.
    pub(super) fn over_limit(&self) -> bool {
        self.over_limit
    }

    /// The line, from 1, of the record that starts at or after `offset`; earlier ones are forgotten.
    pub(super) fn line_at(&mut self, offset: u64) -> u64 {
        while self.starts.front().is_some_and(|&(start, _)| start < offset) {
            self.starts.pop_front();
        }
        self.starts.front().map_or(self.line, |&(_, line)| line)
    }

    fn note(&mut self, bytes: &[u8]) {
        for (offset, &byte) in (self.offset..).zip(bytes) {
            match byte {
                // The second half of a line end that was counted at its first half.
                b'\n' if self.after_carriage_return => {}
                b'\n' | b'\r' => {
                    self.line += 1;
                    self.at_line_start = true;
                }
                _ if self.at_line_start => {
                    self.at_line_start = false;
                    self.starts.push_back((offset, self.line));
                }
                _ => {}
            }
            self.after_carriage_return = byte == b'\r';
        }
        self.offset += bytes.len() as u64;
    }
}

impl<R: Read> Read for Lines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.since_record > self.limit {
            self.over_limit = true;
            return Err(io::Error::other("record too long"));
        }
        let count = self.inner.read(buffer)?;
        self.since_record += count;
        self.note(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn record_lines(text: &str) -> Vec<u64> {
        let lines = Lines::new(text.as_bytes(), 1000);
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(lines);
        let mut record = csv::ByteRecord::new();
        let mut out = Vec::new();
        while reader.read_byte_record(&mut record).unwrap() {
            let start = record.position().unwrap().byte();
            out.push(reader.get_mut().line_at(start));
        }
        out
    }

    #[test]
    fn a_record_is_on_the_line_where_it_starts() {
        assert_eq!(record_lines("a,b\n1,2\n3,4"), [1, 2, 3]);
        assert_eq!(record_lines("a,b\r\n1,2\r\n3,4\r\n"), [1, 2, 3]);
        assert_eq!(record_lines("a,b\r1,2\r\r3,4\r"), [1, 2, 4]);
    }

    #[test]
    fn blank_lines_and_quoted_line_ends_are_counted() {
        assert_eq!(record_lines("\n\na,b\n\n1,2\r\n\r\n\"x\ny\",3\n4,5"), [3, 5, 7, 9]);
        assert_eq!(record_lines("\"a\r\n\r\nb\",c\r\n1,2"), [1, 4]);
    }

    #[test]
    fn a_record_longer_than_the_limit_is_not_read_to_its_end() {
        let mut lines = Lines::new(io::repeat(b'x'), 1 << 20);
        let mut buffer = vec![0; 1 << 16];
        let mut read = 0;
        while let Ok(count) = lines.read(&mut buffer) {
            read += count;
        }
        assert!(lines.over_limit());
        assert!(read <= (1 << 20) + (1 << 17), "{read}");
    }
}
