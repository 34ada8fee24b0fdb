//! Owns the bytes of a CSV file on their way to the CSV reader: counts lines, limits records, and refuses an end within quotes.
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
    separator: u8,
    field: Field,
    /// The line where the last quoted field began, and whether it goes on in another.
    opened: u64,
    spans: bool,
    unclosed: Option<u64>,
}

/// Where in a field the bytes read so far end, by the rules of the `csv` crate: a quote that a field begins with is closed by the next
/// that is not doubled; all others are text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Start,
    Plain,
    Quoted,
    /// After a quote in a quoted field: its end, or the first of two that stand for one.
    AfterQuote,
}

impl<R: Read> Lines<R> {
    /// `limit` is the most bytes that may be read for one record, read-ahead included.
    pub(super) fn new(inner: R, separator: u8, limit: usize) -> Self {
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
            separator,
            field: Field::Start,
            opened: 0,
            spans: false,
            unclosed: None,
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

    /// The line of a quote, if the last read failed because it is not closed: the file ends within a field, or text follows one that
    /// spans lines, which another's quote has ended. The rows in between would be a cell.
    pub(super) fn unclosed(&self) -> Option<u64> {
        self.unclosed
    }

    /// The line, from 1, of the record that starts at or after `offset`; earlier ones are forgotten.
    pub(super) fn line_at(&mut self, offset: u64) -> u64 {
        while self.starts.front().is_some_and(|&(start, _)| start < offset) {
            self.starts.pop_front();
        }
        self.starts.front().map_or(self.line, |&(_, line)| line)
    }

    fn field_after(&mut self, byte: u8) -> Field {
        match (self.field, byte) {
            (Field::Start, b'"') => {
                (self.opened, self.spans) = (self.line, false);
                Field::Quoted
            }
            (Field::AfterQuote, b'"') => Field::Quoted,
            (Field::Quoted, b'"') => Field::AfterQuote,
            (Field::Quoted, byte) => {
                self.spans |= matches!(byte, b'\n' | b'\r');
                Field::Quoted
            }
            (_, b'\n' | b'\r') => Field::Start,
            (_, byte) if byte == self.separator => Field::Start,
            (Field::AfterQuote, byte) if self.spans && byte != b' ' => {
                self.unclosed.get_or_insert(self.opened);
                Field::Plain
            }
            _ => Field::Plain,
        }
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
            self.field = self.field_after(byte);
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
        if count == 0 && self.field == Field::Quoted {
            self.unclosed.get_or_insert(self.opened);
        }
        if self.unclosed.is_some() {
            return Err(io::Error::other("a quote that is not closed"));
        }
        Ok(count)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn record_lines(text: &str) -> Vec<u64> {
        let lines = Lines::new(text.as_bytes(), b',', 1000);
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
    fn a_quote_that_is_not_closed_is_refused_with_its_line() {
        for (text, line) in [
            ("a,\"b", Some(1)),
            ("a,b\n\"1,2\n", Some(2)),
            ("\"a\"\"", Some(1)),
            ("a,\"b\"\",c", Some(1)),
            ("\"", Some(1)),
            ("a,\"b\"", None),
            ("a,\"b\"\"\"", None),
            ("a,b\"c", None),
            ("a,\"b\"c\"d", None),
            ("a, \"b", None),
            ("a\n\"b\nc\"\n", None),
            ("a\n\"b\nc\" ,1\n", None),
            ("", None),
        ] {
            let mut lines = Lines::new(text.as_bytes(), b',', 1000);
            let end = io::copy(&mut lines, &mut io::sink());
            assert_eq!((end.is_err(), lines.unclosed()), (line.is_some(), line), "{text:?}");
            // The reader of the `csv` crate agrees: what is added after an open quote is part of the same cell.
            let longer = format!("{text}\nend");
            let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(longer.as_bytes());
            let last = reader.byte_records().last().unwrap().unwrap();
            assert_eq!(last.as_slice() != b"end", line.is_some(), "{text:?}");
        }
        let mut lines = Lines::new(&b"a,b\n1,\"x\n2,\"y\n"[..], b',', 1000);
        assert!(io::copy(&mut lines, &mut io::sink()).is_err(), "closed by one that was to open the next");
        assert_eq!(lines.unclosed(), Some(2));
    }

    #[test]
    fn a_record_longer_than_the_limit_is_not_read_to_its_end() {
        let mut lines = Lines::new(io::repeat(b'x'), b',', 1 << 20);
        let mut buffer = vec![0; 1 << 16];
        let mut read = 0;
        while let Ok(count) = lines.read(&mut buffer) {
            read += count;
        }
        assert!(lines.over_limit());
        assert!(read <= (1 << 20) + (1 << 17), "{read}");
    }
}
