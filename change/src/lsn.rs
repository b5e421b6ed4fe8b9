//! Byte positions in a source's write-ahead log.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A byte position in the source's write-ahead log. Text form `16/B374D848`
/// (manual, "pg_lsn Type").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(u64);

/// The text was not two hexadecimal halves of at most eight digits, divided by a slash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an LSN: expected two hexadecimal halves such as 16/B374D848")]
pub struct ParseLsnError;

impl Lsn {
    /// Where no log record can stand: Postgres' `InvalidXLogRecPtr`.
    pub const ZERO: Self = Self(0);

    pub const fn new(byte: u64) -> Self {
        Self(byte)
    }

    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The position one byte before, which still lies before everything that starts here.
    pub const fn just_before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// Bytes of log from `earlier` to here; zero when `earlier` is not earlier.
    pub const fn bytes_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<u64> for Lsn {
    fn from(byte: u64) -> Self {
        Self(byte)
    }
}

impl From<Lsn> for u64 {
    fn from(lsn: Lsn) -> Self {
        lsn.0
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// As text: a JSON number would be rounded.
impl Serialize for Lsn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lsn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

impl FromStr for Lsn {
    type Err = ParseLsnError;

    fn from_str(text: &str) -> Result<Self, ParseLsnError> {
        let (high, low) = text.split_once('/').ok_or(ParseLsnError)?;
        Ok(Self(u64::from(half(high)?) << 32 | u64::from(half(low)?)))
    }
}

/// `u32`, so that a half that is too long is refused rather than shifted away.
fn half(digits: &str) -> Result<u32, ParseLsnError> {
    // `from_str_radix` alone would also take a leading '+'.
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(ParseLsnError);
    }
    u32::from_str_radix(digits, 16).map_err(|_| ParseLsnError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<u64, ParseLsnError>) {
        assert_eq!(text.parse().map(Lsn::as_u64), expected, "{text}");
    }

    #[test]
    fn text_form_is_that_of_pg_lsn() {
        check("16/B374D848", Ok(0x16_B374_D848));
        check("0/0", Ok(0));
        check("FFFFFFFF/FFFFFFFF", Ok(u64::MAX));
        assert_eq!(Lsn::new(0x16_B374_D848).to_string(), "16/B374D848");
        assert_eq!(Lsn::new(0x1_0000_000A).to_string(), "1/A");
    }

    #[test]
    fn what_is_not_an_lsn_is_refused() {
        for text in [
            "",
            "/",
            "16",
            "16/",
            "/16",
            "+1/0",
            "123456789/0",
            "0/123456789",
            "g/0",
            "0/0/0",
        ] {
            check(text, Err(ParseLsnError));
        }
    }
}
