//! One row's values as Postgres takes them.

use std::fmt;

/// A row's values in column order, laid out as the fields of a COPY BINARY tuple (manual, "COPY",
/// "Binary Format"): a length in four bytes, -1 for NULL, then the image. So a complete row is
/// copied into a COPY as it is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Row(Box<[u8]>);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Value<'a> {
    Null,
    /// A TOASTed value that the update did not touch, so that nobody sent it. Not NULL.
    Unchanged,
    Image(&'a [u8]),
}

const NULL: i32 = -1;
/// No length in COPY: such a row is never sent as it is.
const UNCHANGED: i32 = -2;

impl Row {
    pub(crate) fn values(&self) -> Values<'_> {
        Values { rest: &self.0 }
    }

    /// The fields as COPY BINARY wants them. Only for rows without an unchanged value.
    pub(crate) fn fields(&self) -> &[u8] {
        &self.0
    }

    /// The layout with the marks of unchanged values, to be kept.
    pub(crate) fn layout(&self) -> &[u8] {
        &self.0
    }

    /// A row that is only compared with others.
    pub(crate) fn of_layout(layout: &[u8]) -> Self {
        Self(layout.into())
    }

    /// A row of `columns` values from what [`Row::layout`] gave; `None` when it is none.
    pub(crate) fn from_layout(layout: &[u8], columns: usize) -> Option<Self> {
        let mut rest = layout;
        for _ in 0..columns {
            let (head, values) = rest.split_first_chunk()?;
            rest = match i32::from_be_bytes(*head) {
                NULL | UNCHANGED => values,
                length => values.get(usize::try_from(length).ok()?..)?,
            };
        }
        rest.is_empty().then(|| Self(layout.into()))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn has_unchanged(&self) -> bool {
        self.values().any(|value| value == Value::Unchanged)
    }

    /// This row with the values of `earlier` where it has none of its own.
    pub(crate) fn over(&self, earlier: &Self) -> Self {
        let mut fields = Fields::default();
        for (own, old) in self.values().zip(earlier.values()) {
            fields.push(if own == Value::Unchanged { old } else { own });
        }
        fields.row()
    }
}

/// Values are the user's: they never get into a message.
impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Row({} bytes)", self.0.len())
    }
}

#[derive(Clone)]
pub(crate) struct Values<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let (head, rest) = self.rest.split_first_chunk()?;
        match i32::from_be_bytes(*head) {
            NULL => {
                self.rest = rest;
                Some(Value::Null)
            }
            UNCHANGED => {
                self.rest = rest;
                Some(Value::Unchanged)
            }
            length => {
                let length = usize::try_from(length).expect("written by Fields");
                let (image, rest) = rest.split_at(length);
                self.rest = rest;
                Some(Value::Image(image))
            }
        }
    }
}

/// The buffer that rows are built in, one after the other.
#[derive(Default)]
pub(crate) struct Fields(Vec<u8>);

/// A longer buffer is not kept.
const KEPT_BYTES: usize = 1 << 20;

/// An image of more than 2 GB: no value of Postgres is that long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Fields {
    pub(crate) fn push(&mut self, value: Value<'_>) {
        match value {
            Value::Null => self.0.extend(NULL.to_be_bytes()),
            Value::Unchanged => self.0.extend(UNCHANGED.to_be_bytes()),
            Value::Image(image) => {
                let length = i32::try_from(image.len()).expect("cut out of one record");
                self.0.extend(length.to_be_bytes());
                self.0.extend_from_slice(image);
            }
        }
    }

    /// Appends a value that `write` appends the image of.
    pub(crate) fn write<E: From<TooLong>>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let at = self.0.len();
        self.0.extend([0; 4]);
        write(&mut self.0)?;
        let length = i32::try_from(self.0.len() - at - 4).map_err(|_| TooLong)?;
        self.0[at..at + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The row, exactly as large as it must be; the buffer stays for the next one, unless it is large.
    pub(crate) fn row(&mut self) -> Row {
        if self.0.capacity() > KEPT_BYTES {
            return Row(std::mem::take(&mut self.0).into_boxed_slice());
        }
        let row = Row(self.0.as_slice().into());
        self.0.clear();
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[Value<'_>]) -> Row {
        let mut fields = Fields::default();
        values.iter().for_each(|value| fields.push(*value));
        fields.row()
    }

    #[test]
    fn unchanged_values_are_those_of_the_earlier_row() {
        let earlier = row(&[Value::Image(b"1"), Value::Image(b"old"), Value::Null]);
        let later = row(&[Value::Image(b"2"), Value::Unchanged, Value::Image(b"")]);
        assert!(later.has_unchanged());
        let merged = later.over(&earlier);
        assert!(merged == row(&[Value::Image(b"2"), Value::Image(b"old"), Value::Image(b"")]));
        assert_eq!(merged.fields(), b"\0\0\0\x012\0\0\0\x03old\0\0\0\0");
    }
}
