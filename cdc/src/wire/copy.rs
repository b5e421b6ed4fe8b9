//! The stream of `copy … to stdout (format binary)` (manual, "COPY", "Binary Format").

use bytes::{Buf, BytesMut};

use super::cursor::Cursor;
use super::tuple::column_count;
use super::{TupleData, WireError};

/// Cuts a binary COPY stream, which comes in chunks of any size, into rows.
///
/// ```text
/// loop { chunk ──push──▶ CopyDecoder ──next_tuple──▶ rows until None } then finish
/// ```
///
/// Holds the last chunk and the part of a row before it, so at most one row more than it was given.
#[derive(Debug)]
pub struct CopyDecoder {
    buffer: BytesMut,
    /// The row handed out last: still in the buffer, because it is borrowed from there.
    consumed: usize,
    /// How much the buffer must hold before the row at its start can be complete.
    wanted: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Header,
    Tuples,
    Trailer,
}

/// "PGCOPY\n\377\r\n\0"
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// A reader must refuse what is set in bits 16 to 31. Of the lower ones, bit 16 alone (oids) was
/// ever used, by versions before 12.
const CRITICAL_FLAGS: u32 = 0xffff_0000;

/// A column count of -1.
const TRAILER_BYTES: usize = size_of::<i16>();

/// Postgres builds a row in one buffer of at most this size (`MaxAllocSize`).
const MAX_ROW_BYTES: usize = 0x3fff_ffff;

/// After a row larger than this its buffer is given back.
const KEPT_BUFFER_BYTES: usize = 1 << 20;

impl Default for CopyDecoder {
    fn default() -> Self {
        Self {
            buffer: BytesMut::new(),
            consumed: 0,
            wanted: 0,
            state: State::Header,
        }
    }
}

impl CopyDecoder {
    /// Takes the next chunk. To keep memory small, take all its rows before the next one.
    pub fn push(&mut self, chunk: &[u8]) {
        self.drop_consumed();
        self.buffer.extend_from_slice(chunk);
    }

    /// The next whole row, or `None` when more chunks are needed or the trailer was reached.
    pub fn next_tuple(&mut self) -> Result<Option<TupleData<'_>>, WireError> {
        self.drop_consumed();
        if self.state == State::Header && !self.header()? {
            return Ok(None);
        }
        if self.state == State::Trailer {
            return self.end();
        }
        self.tuple()
    }

    /// Checks that the stream was complete.
    pub fn finish(self) -> Result<(), WireError> {
        match self.state {
            State::Trailer => self.end::<()>().map(|_| ()),
            State::Header | State::Tuples => Err(WireError::NoTrailer),
        }
    }

    /// Whether the header is complete.
    fn header(&mut self) -> Result<bool, WireError> {
        let Some(length) = complete(header_length(&self.buffer), self.buffer.len())? else {
            return Ok(false);
        };
        self.buffer.advance(length);
        self.state = State::Tuples;
        Ok(true)
    }

    fn tuple(&mut self) -> Result<Option<TupleData<'_>>, WireError> {
        let buffered = self.buffer.len();
        // A wide row in small chunks is not read from its start at each of them.
        if buffered < self.wanted {
            return Ok(None);
        }
        let mut input = Cursor::new(&self.buffer);
        match tuple(&mut input) {
            Ok(Some(tuple)) => {
                self.consumed = buffered.saturating_sub(input.rest().len());
                self.wanted = 0;
                Ok(Some(tuple))
            }
            Ok(None) => {
                self.consumed = TRAILER_BYTES;
                self.state = State::Trailer;
                self.end()
            }
            Err(WireError::Truncated { missing }) => {
                self.wanted = buffered.saturating_add(missing);
                within_a_row(self.wanted).map(|()| None)
            }
            Err(error) => Err(error),
        }
    }

    fn end<T>(&self) -> Result<Option<T>, WireError> {
        if self.buffer.len() > self.consumed {
            return Err(WireError::AfterTrailer);
        }
        Ok(None)
    }

    fn drop_consumed(&mut self) {
        self.buffer.advance(std::mem::take(&mut self.consumed));
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BUFFER_BYTES {
            self.buffer = BytesMut::new();
        }
    }
}

/// The next row, or `None` for the trailer.
fn tuple<'a>(input: &mut Cursor<'a>) -> Result<Option<TupleData<'a>>, WireError> {
    match input.i16()? {
        -1 => Ok(None),
        count => TupleData::copy_binary(column_count(count)?, input).map(Some),
    }
}

/// The length of signature, flags and header extension.
fn header_length(stream: &[u8]) -> Result<usize, WireError> {
    let mut input = Cursor::new(stream);
    if !SIGNATURE.starts_with(stream.get(..SIGNATURE.len()).unwrap_or(stream)) {
        return Err(WireError::NotBinaryCopy);
    }
    input.take(SIGNATURE.len())?;
    let flags = input.u32()?;
    if flags & CRITICAL_FLAGS != 0 {
        return Err(WireError::CopyFlags { flags });
    }
    input.sized("header extension")?;
    Ok(stream.len().saturating_sub(input.rest().len()))
}

/// What is cut off may still come, unless it is longer than Postgres can make it.
fn complete<T>(read: Result<T, WireError>, buffered: usize) -> Result<Option<T>, WireError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(WireError::Truncated { missing }) => {
            within_a_row(buffered.saturating_add(missing)).map(|()| None)
        }
        Err(error) => Err(error),
    }
}

fn within_a_row(bytes: usize) -> Result<(), WireError> {
    if bytes <= MAX_ROW_BYTES {
        return Ok(());
    }
    Err(WireError::Length {
        what: "row",
        length: i64::try_from(bytes).unwrap_or(i64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::CopyDecoder;
    use crate::wire::{Column, WireError};

    const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    const TRAILER: &[u8] = b"\xff\xff";

    /// Reads the stream cut into chunks of `size`; rows come back as their values.
    fn read(stream: &[u8], size: usize) -> Result<Vec<Vec<Option<Vec<u8>>>>, WireError> {
        let mut decoder = CopyDecoder::default();
        let mut rows = Vec::new();
        for chunk in stream.chunks(size) {
            decoder.push(chunk);
            while let Some(tuple) = decoder.next_tuple()? {
                rows.push(
                    tuple
                        .iter()
                        .map(|column| match column {
                            Column::Binary(value) => Some(value.to_vec()),
                            Column::Null => None,
                            Column::Text(_) | Column::UnchangedToast => unreachable!("not in COPY"),
                        })
                        .collect(),
                );
            }
        }
        decoder.finish()?;
        Ok(rows)
    }

    #[track_caller]
    fn check(parts: &[&[u8]], expected: Result<&[&[Option<&[u8]>]], WireError>) {
        let stream = parts.concat();
        let expected = expected.map(|rows| {
            rows.iter()
                .map(|row| row.iter().map(|value| value.map(<[u8]>::to_vec)).collect())
                .collect::<Vec<Vec<_>>>()
        });
        for size in 1..=stream.len() {
            assert_eq!(read(&stream, size), expected, "in chunks of {size}");
        }
    }

    #[test]
    fn rows_are_the_same_in_chunks_of_every_size() {
        let rows = b"\0\x02\0\0\0\x03abc\xff\xff\xff\xff\0\x02\0\0\0\0\0\0\0\x01x";
        check(
            &[HEADER, rows, TRAILER],
            Ok(&[&[Some(b"abc"), None], &[Some(b""), Some(b"x")]]),
        );
        check(&[HEADER, TRAILER], Ok(&[]));
    }

    #[test]
    fn a_header_extension_is_skipped() {
        let header = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\x02??";
        check(&[header, TRAILER], Ok(&[]));
    }

    #[test]
    fn what_is_not_a_complete_binary_copy_is_refused() {
        check(&[b"1\tone\n"], Err(WireError::NotBinaryCopy));
        check(&[HEADER], Err(WireError::NoTrailer));
        check(&[HEADER, b"\0\x01\0\0"], Err(WireError::NoTrailer));
        check(&[HEADER, TRAILER, b"x"], Err(WireError::AfterTrailer));
        check(
            &[b"PGCOPY\n\xff\r\n\0\0\x01\0\0\0\0\0\0"],
            Err(WireError::CopyFlags { flags: 0x1_0000 }),
        );
    }

    #[test]
    fn lengths_and_counts_have_limits() {
        let length = |what, length| Err(WireError::Length { what, length });
        check(&[HEADER, b"\xff\xfe"], length("column list", -2));
        check(&[HEADER, b"\x06\x81"], length("column list", 1_665));
        check(&[HEADER, b"\0\x01\xff\xff\xff\xfe"], length("value", -2));
        check(&[HEADER, b"\0\x01\x40\0\0\0"], length("value", 0x4000_0000));
        check(
            &[HEADER, b"\0\x01\x3f\xff\xff\xff"],
            length("row", 0x4000_0005),
        );
    }
}
