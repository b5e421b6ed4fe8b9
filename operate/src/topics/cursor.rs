//! A place in a topic: an offset in each of its partitions.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Everything before these offsets is before the place. Text form `0:120,1:98`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor(pub(super) BTreeMap<i32, i64>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a place in a topic: expected partitions and offsets such as 0:120,1:98")]
pub struct ParseCursorError;

/// More partitions than a topic sensibly has.
const PARTITIONS_MAX: usize = 10_000;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (partition, offset)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{partition}:{offset}")?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = ParseCursorError;

    fn from_str(text: &str) -> Result<Self, ParseCursorError> {
        let mut offsets = BTreeMap::new();
        for part in text.split(',') {
            let (partition, offset) = part.split_once(':').ok_or(ParseCursorError)?;
            let partition: u16 = partition.parse().map_err(|_| ParseCursorError)?;
            let offset: u64 = offset.parse().map_err(|_| ParseCursorError)?;
            let offset = i64::try_from(offset).map_err(|_| ParseCursorError)?;
            offsets.insert(i32::from(partition), offset);
            if offsets.len() > PARTITIONS_MAX {
                return Err(ParseCursorError);
            }
        }
        Ok(Self(offsets))
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_from_its_text() {
        let cursor: Cursor = "1:98,0:120".parse().unwrap();
        assert_eq!(cursor.to_string(), "0:120,1:98");
        for text in [
            "",
            "0",
            "0:",
            ":1",
            "-1:0",
            "0:-1",
            "0:1,",
            "70000:1",
            "0:9223372036854775808",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(ParseCursorError), "{text}");
        }
    }
}
