//! Reading Avro primitives from a slice; every read is checked.

/// What is wrong with a datum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatumError {
    #[error("datum ends early")]
    Truncated,
    #[error("integer of more than ten bytes")]
    LongTooLong,
    #[error("boolean byte {0} is neither 0 nor 1")]
    Bool(u8),
    #[error("union branch {0} does not exist")]
    Branch(i64),
    #[error("length {0} is negative or longer than the datum")]
    Length(i64),
    #[error("string is not UTF-8")]
    Utf8,
    #[error("{0} bytes left over after the datum")]
    Leftover(usize),
}

/// A datum that is being read.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(datum: &'a [u8]) -> Self {
        Self { rest: datum }
    }

    /// Whether nothing is left to read.
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub fn long(&mut self) -> Result<i64, DatumError> {
        // Lengths and branches of unions: nearly all are of one byte.
        if let Some((byte, rest)) = self.rest.split_first()
            && byte & 0x80 == 0
        {
            self.rest = rest;
            let value = u64::from(*byte);
            return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
        self.long_of_many_bytes()
    }

    fn long_of_many_bytes(&mut self) -> Result<i64, DatumError> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            // The tenth byte has room for one bit only; more would be shifted away.
            if shift == 63 && byte > 1 {
                return Err(DatumError::LongTooLong);
            }
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        Err(DatumError::LongTooLong)
    }

    pub fn bool(&mut self) -> Result<bool, DatumError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(DatumError::Bool(other)),
        }
    }

    /// The bits of a `float`: NaNs keep their payload.
    pub fn float(&mut self) -> Result<u32, DatumError> {
        self.array().map(u32::from_le_bytes)
    }

    /// The bits of a `double`.
    pub fn double(&mut self) -> Result<u64, DatumError> {
        self.array().map(u64::from_le_bytes)
    }

    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], DatumError> {
        let length = self.long()?;
        let (bytes, rest) = usize::try_from(length)
            .ok()
            .and_then(|length| self.rest.split_at_checked(length))
            .ok_or(DatumError::Length(length))?;
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    pub fn str(&mut self) -> Result<&'a str, DatumError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| DatumError::Utf8)
    }

    /// The branch of a union `["null", T]`: whether there is a T to read.
    #[inline]
    pub fn some(&mut self) -> Result<bool, DatumError> {
        match self.long()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(DatumError::Branch(other)),
        }
    }

    /// How many items the next block of an array or map holds; 0 ends it. Call again after reading
    /// them. An item takes at least one byte in all our schemas, so the count is bounded by the rest.
    #[inline]
    pub fn block(&mut self) -> Result<usize, DatumError> {
        let mut count = self.long()?;
        if count < 0 {
            // A negative count is followed by the block's size in bytes, for readers that skip.
            self.long()?;
            count = count.checked_neg().ok_or(DatumError::Length(count))?;
        }
        match usize::try_from(count) {
            Ok(items) if items <= self.rest.len() => Ok(items),
            _ => Err(DatumError::Length(count)),
        }
    }

    /// Ends the reading. Leftover bytes mean that the schema was not the writer's.
    pub fn finish(self) -> Result<(), DatumError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(DatumError::Leftover(left)),
        }
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, DatumError> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DatumError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(DatumError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::avro::write_long;

    #[test]
    fn a_length_past_the_end_is_an_error() {
        assert_eq!(
            Reader::new(&[0x08, b'a']).bytes(),
            Err(DatumError::Length(4))
        );
        assert_eq!(Reader::new(&[0x01]).bytes(), Err(DatumError::Length(-1)));
        assert_eq!(Reader::new(&[]).long(), Err(DatumError::Truncated));
        assert_eq!(
            Reader::new(&[0xFF; 11]).long(),
            Err(DatumError::LongTooLong)
        );
    }

    proptest! {
        #[test]
        fn longs_are_those_of_the_reference_implementation(value in any::<i64>()) {
            let mut ours = Vec::new();
            write_long(&mut ours, value);
            let oracle = apache_avro::writer::datum::GenericDatumWriter::builder(
                &apache_avro::Schema::Long).build().unwrap()
                .write_value_to_vec(apache_avro::types::Value::Long(value)).unwrap();
            prop_assert_eq!(&ours, &oracle);
            prop_assert_eq!(Reader::new(&ours).long(), Ok(value));
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes);
            let _ = reader.block();
            let _ = reader.long();
            let _ = reader.str();
            let _ = reader.some();
        }
    }
}
