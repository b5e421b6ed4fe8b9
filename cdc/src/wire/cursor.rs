use change::Lsn;

use super::{Oid, PgTimestamp, WireError, Xid};

/// Checked reads from the front of a slice, in network byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Leftover bytes mean that the layout was misread.
    pub(super) fn finish(self) -> Result<(), WireError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(WireError::Leftover { bytes }),
        }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| self.truncated(count))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn i16(&mut self) -> Result<i16, WireError> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, WireError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn oid(&mut self) -> Result<Oid, WireError> {
        self.u32()
    }

    pub(super) fn xid(&mut self) -> Result<Xid, WireError> {
        self.u32().map(Xid)
    }

    pub(super) fn lsn(&mut self) -> Result<Lsn, WireError> {
        self.array().map(u64::from_be_bytes).map(Lsn::from)
    }

    pub(super) fn timestamp(&mut self) -> Result<PgTimestamp, WireError> {
        self.array()
            .map(i64::from_be_bytes)
            .map(PgTimestamp::from_micros)
    }

    /// A string that a zero byte ends. The session sets `client_encoding` to UTF8.
    pub(super) fn string(&mut self) -> Result<&'a str, WireError> {
        let mut parts = self.rest.splitn(2, |byte| *byte == 0);
        let (Some(text), Some(rest)) = (parts.next(), parts.next()) else {
            return Err(WireError::UnterminatedString);
        };
        self.rest = rest;
        std::str::from_utf8(text).map_err(|_| WireError::NotUtf8)
    }

    /// A four-byte length and that many bytes.
    pub(super) fn sized(&mut self, what: &'static str) -> Result<&'a [u8], WireError> {
        let length = self.i32()?;
        let count = usize::try_from(length).map_err(|_| WireError::Length {
            what,
            length: i64::from(length),
        })?;
        self.take(count)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| self.truncated(N))?;
        self.rest = rest;
        Ok(*taken)
    }

    fn truncated(&self, wanted: usize) -> WireError {
        WireError::Truncated {
            missing: wanted.saturating_sub(self.rest.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cursor, WireError};

    #[test]
    fn reads_advance_and_leftovers_are_an_error() {
        let mut input = Cursor::new(b"\0\x01name\0\xff");
        assert_eq!(input.i16(), Ok(1));
        assert_eq!(input.string(), Ok("name"));
        assert_eq!(input.finish(), Err(WireError::Leftover { bytes: 1 }));
    }

    #[test]
    fn a_short_read_says_how_much_is_missing() {
        assert_eq!(
            Cursor::new(b"abc").u32(),
            Err(WireError::Truncated { missing: 1 })
        );
        assert_eq!(
            Cursor::new(b"\0\0\0\x05abc").sized("value"),
            Err(WireError::Truncated { missing: 2 })
        );
    }

    #[test]
    fn a_negative_length_is_an_error() {
        let length = WireError::Length {
            what: "value",
            length: -1,
        };
        assert_eq!(Cursor::new(b"\xff\xff\xff\xff").sized("value"), Err(length));
    }

    #[test]
    fn a_string_needs_its_zero_byte_and_utf8() {
        assert_eq!(
            Cursor::new(b"name").string(),
            Err(WireError::UnterminatedString)
        );
        assert_eq!(Cursor::new(b"\xff\0").string(), Err(WireError::NotUtf8));
        assert_eq!(Cursor::new(b"\0").string(), Ok(""));
    }
}
