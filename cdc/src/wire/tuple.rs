//! A row on the wire.

use super::WireError;
use super::cursor::Cursor;

/// The most columns a table can have (`MaxTupleAttributeNumber` is 1,664, of which a table may use
/// 1,600; a view or a query in COPY may use all).
pub const MAX_COLUMNS: u16 = 1_664;

/// The longest value: Postgres allocates no more than this for one (`MaxAllocSize`).
pub const MAX_VALUE_BYTES: i32 = 0x3fff_ffff;

/// The columns of one row, read in place. Counts and lengths were checked when it was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TupleData<'a> {
    layout: Layout,
    columns: u16,
    bytes: &'a [u8],
}

/// One value of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column<'a> {
    Null,
    /// A large value that the update did not touch, so that Postgres did not send it. Not NULL.
    UnchangedToast,
    /// The output function's text: the type has no send function, or the stream is not binary.
    Text(&'a [u8]),
    /// What the type's send function made.
    Binary(&'a [u8]),
}

/// How a value is introduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// A kind byte, and a length where the kind has a value (manual, "TupleData").
    Pgoutput,
    /// A length, -1 for NULL (manual, COPY, "Tuples").
    CopyBinary,
}

impl<'a> TupleData<'a> {
    pub fn len(&self) -> usize {
        usize::from(self.columns)
    }

    pub fn is_empty(&self) -> bool {
        self.columns == 0
    }

    pub fn iter(&self) -> Columns<'a> {
        Columns {
            layout: self.layout,
            left: self.columns,
            input: Cursor::new(self.bytes),
        }
    }

    /// Reads a TupleData of `pgoutput` and leaves the cursor behind it.
    pub(super) fn pgoutput(input: &mut Cursor<'a>) -> Result<Self, WireError> {
        let columns = column_count(input.i16()?)?;
        Self::columns(Layout::Pgoutput, columns, input)
    }

    /// Reads a tuple of binary COPY after its column count.
    pub(super) fn copy_binary(columns: u16, input: &mut Cursor<'a>) -> Result<Self, WireError> {
        Self::columns(Layout::CopyBinary, columns, input)
    }

    fn columns(layout: Layout, columns: u16, input: &mut Cursor<'a>) -> Result<Self, WireError> {
        let start = input.rest();
        for _ in 0..columns {
            layout.column(input)?;
        }
        let length = start.len().saturating_sub(input.rest().len());
        Ok(Self {
            layout,
            columns,
            bytes: Cursor::new(start).take(length)?,
        })
    }
}

/// Reads a column count as both layouts have it.
pub(super) fn column_count(count: i16) -> Result<u16, WireError> {
    u16::try_from(count)
        .ok()
        .filter(|count| *count <= MAX_COLUMNS)
        .ok_or(WireError::Length {
            what: "column list",
            length: i64::from(count),
        })
}

impl<'a> IntoIterator for &TupleData<'a> {
    type Item = Column<'a>;
    type IntoIter = Columns<'a>;

    fn into_iter(self) -> Columns<'a> {
        self.iter()
    }
}

/// The columns of a row from left to right.
#[derive(Clone, Debug)]
pub struct Columns<'a> {
    layout: Layout,
    left: u16,
    input: Cursor<'a>,
}

impl<'a> Iterator for Columns<'a> {
    type Item = Column<'a>;

    fn next(&mut self) -> Option<Column<'a>> {
        self.left = self.left.checked_sub(1)?;
        // The same bytes were read without error when the tuple was decoded.
        self.layout.column(&mut self.input).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

impl ExactSizeIterator for Columns<'_> {}

impl Layout {
    fn column<'a>(self, input: &mut Cursor<'a>) -> Result<Column<'a>, WireError> {
        match self {
            Self::Pgoutput => match input.u8()? {
                b'n' => Ok(Column::Null),
                b'u' => Ok(Column::UnchangedToast),
                b't' => Ok(Column::Text(value(input.i32()?, input)?)),
                b'b' => Ok(Column::Binary(value(input.i32()?, input)?)),
                kind => Err(WireError::UnknownKind {
                    what: "column",
                    kind,
                }),
            },
            Self::CopyBinary => match input.i32()? {
                -1 => Ok(Column::Null),
                length => Ok(Column::Binary(value(length, input)?)),
            },
        }
    }
}

fn value<'a>(length: i32, input: &mut Cursor<'a>) -> Result<&'a [u8], WireError> {
    let count = usize::try_from(length)
        .ok()
        .filter(|_| length <= MAX_VALUE_BYTES)
        .ok_or(WireError::Length {
            what: "value",
            length: i64::from(length),
        })?;
    input.take(count)
}

#[cfg(test)]
mod tests {
    use super::{Column, TupleData};
    use crate::wire::WireError;
    use crate::wire::cursor::Cursor;

    #[track_caller]
    fn check(bytes: &[u8], expected: Result<&[Column<'_>], WireError>) {
        let tuple = TupleData::pgoutput(&mut Cursor::new(bytes));
        let columns = tuple.map(|tuple| {
            let columns: Vec<_> = tuple.iter().collect();
            assert_eq!(columns.len(), tuple.len());
            columns
        });
        assert_eq!(
            columns.as_deref(),
            expected.as_ref().map(|columns| *columns)
        );
    }

    #[test]
    fn null_unchanged_and_empty_are_three_things() {
        check(
            b"\0\x04nut\0\0\0\0b\0\0\0\x01x",
            Ok(&[
                Column::Null,
                Column::UnchangedToast,
                Column::Text(b""),
                Column::Binary(b"x"),
            ]),
        );
        check(b"\0\0", Ok(&[]));
    }

    #[test]
    fn a_length_past_the_end_is_an_error() {
        check(
            b"\0\x01t\0\0\0\x05abc",
            Err(WireError::Truncated { missing: 2 }),
        );
    }

    #[test]
    fn lengths_and_counts_have_limits() {
        let length = |what, length| Err(WireError::Length { what, length });
        check(b"\0\x01t\xff\xff\xff\xff", length("value", -1));
        check(b"\0\x01b\x40\0\0\0", length("value", 0x4000_0000));
        check(b"\x06\x81", length("column list", 1_665));
        check(b"\xff\xff", length("column list", -1));
    }

    #[test]
    fn the_cursor_stands_behind_the_row() {
        let mut input = Cursor::new(b"\0\x01nrest");
        let tuple = TupleData::pgoutput(&mut input).unwrap();
        assert_eq!(tuple.len(), 1);
        assert_eq!(input.rest(), b"rest");
    }
}
