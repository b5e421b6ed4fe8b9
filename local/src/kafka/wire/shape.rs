//! Walks the body of a request along its declared fields before it is decoded.
//!
//! The decoders of `kafka-protocol` reserve an array's announced length at once, so that twenty
//! hostile bytes could ask for hundreds of gigabytes. After this walk every element that a length
//! announces is known to be there, and the number of elements is bounded.

use super::cursor::{Cursor, WireError};

/// Elements of all arrays of one request together, and tagged fields. A request for every
/// partition of the largest sensible installation stays far below; the decoded form of so many
/// elements takes tens of megabytes at most.
const ELEMENTS_MAX: u32 = 200_000;

/// A field of a request, and the versions that have it.
#[derive(Debug)]
pub(in crate::kafka) struct Field {
    pub(super) since: i16,
    pub(super) until: i16,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// A field of fixed width in bytes.
    Fixed(usize),
    Text,
    Blob,
    /// An array of fixed-width elements.
    ArrayOfFixed(usize),
    ArrayOfText,
    Array(&'static [Field]),
}

/// Checks that `body` starts with one value of the declared `fields`. What follows it is ignored, as
/// Kafka does: librdkafka, for one, sends a few bytes more with some versions of Metadata.
pub(in crate::kafka) fn check_body(
    fields: &[Field],
    version: i16,
    flexible: bool,
    body: &[u8],
) -> Result<(), WireError> {
    let mut walk = Walk {
        input: Cursor::new(body),
        version,
        flexible,
        elements_left: ELEMENTS_MAX,
    };
    walk.structure(fields)
}

pub(super) fn skip_tagged_fields(input: &mut Cursor<'_>) -> Result<(), WireError> {
    let mut left = ELEMENTS_MAX;
    tagged_fields(input, &mut left)
}

fn tagged_fields(input: &mut Cursor<'_>, elements_left: &mut u32) -> Result<(), WireError> {
    let count = input.unsigned_varint()?;
    *elements_left = elements_left
        .checked_sub(count)
        .ok_or(WireError::TooManyElements)?;
    for _ in 0..count {
        input.unsigned_varint()?;
        let size = input.unsigned_varint()?;
        input.take(usize::try_from(size).map_err(|_| WireError::Truncated)?)?;
    }
    Ok(())
}

struct Walk<'a> {
    input: Cursor<'a>,
    version: i16,
    flexible: bool,
    elements_left: u32,
}

impl Walk<'_> {
    fn structure(&mut self, fields: &[Field]) -> Result<(), WireError> {
        for field in fields {
            if (field.since..=field.until).contains(&self.version) {
                self.field(&field.kind)?;
            }
        }
        if self.flexible {
            tagged_fields(&mut self.input, &mut self.elements_left)?;
        }
        Ok(())
    }

    fn field(&mut self, kind: &Kind) -> Result<(), WireError> {
        match kind {
            Kind::Fixed(width) => self.input.take(*width).map(drop),
            Kind::Text => self.text(),
            Kind::Blob => {
                let length = self.wide_length()?;
                self.input.take(length).map(drop)
            }
            Kind::ArrayOfFixed(width) => {
                let count = self.element_count()?;
                let length = count.checked_mul(*width).ok_or(WireError::Truncated)?;
                self.input.take(length).map(drop)
            }
            Kind::ArrayOfText => {
                for _ in 0..self.element_count()? {
                    self.text()?;
                }
                Ok(())
            }
            Kind::Array(fields) => {
                for _ in 0..self.element_count()? {
                    self.structure(fields)?;
                }
                Ok(())
            }
        }
    }

    fn text(&mut self) -> Result<(), WireError> {
        let length = if self.flexible {
            self.compact_length()?
        } else {
            length_or_null(i32::from(self.input.i16()?))?
        };
        self.input.take(length).map(drop)
    }

    fn element_count(&mut self) -> Result<usize, WireError> {
        let count = self.wide_length()?;
        let spent = u32::try_from(count).map_err(|_| WireError::TooManyElements)?;
        self.elements_left = self
            .elements_left
            .checked_sub(spent)
            .ok_or(WireError::TooManyElements)?;
        Ok(count)
    }

    fn wide_length(&mut self) -> Result<usize, WireError> {
        if self.flexible {
            self.compact_length()
        } else {
            length_or_null(self.input.i32()?)
        }
    }

    /// The length plus one, and zero for null.
    fn compact_length(&mut self) -> Result<usize, WireError> {
        let length = self.input.unsigned_varint()?.saturating_sub(1);
        usize::try_from(length).map_err(|_| WireError::Truncated)
    }
}

fn length_or_null(length: i32) -> Result<usize, WireError> {
    match length {
        -1 => Ok(0),
        length => usize::try_from(length).map_err(|_| WireError::NegativeLength),
    }
}

#[cfg(test)]
mod tests {
    use super::super::apis::served;
    use super::*;
    use kafka_protocol::messages::ApiKey;

    #[track_caller]
    fn check(version: i16, body: &[u8], expected: Result<(), WireError>) {
        let metadata = served(3).unwrap();
        let flexible = ApiKey::Metadata.request_header_version(version) >= 2;
        assert_eq!(check_body(metadata.body, version, flexible, body), expected);
    }

    #[test]
    fn whole_requests_pass() {
        check(1, b"\0\0\0\x01\0\x01t", Ok(()));
        check(1, b"\xff\xff\xff\xff", Ok(()));
        check(9, b"\x02\x02t\0\x01\x01\x01\0", Ok(()));
    }

    #[test]
    fn an_array_that_announces_more_than_it_has_is_refused() {
        check(1, b"\0\0\xff\xff\0\x01t", Err(WireError::Truncated));
        check(
            1,
            b"\x7f\xff\xff\xff\0\x01t",
            Err(WireError::TooManyElements),
        );
        check(
            9,
            b"\xff\xff\xff\xff\x0f\x02t\0",
            Err(WireError::TooManyElements),
        );
    }

    #[test]
    fn negative_lengths_are_refused() {
        check(1, b"\xff\xff\xff\xfe", Err(WireError::NegativeLength));
        check(
            9,
            b"\xff\xff\xff\xff\xff\xff",
            Err(WireError::VarintTooLong),
        );
    }
}
