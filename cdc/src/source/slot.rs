use std::fmt;
use std::str::FromStr;

use change::Lsn;

/// A slot's name: 1 to 63 lower-case letters, digits and underscores (`ReplicationSlotValidateName`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SlotName(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a slot name has 1 to 63 characters, of a-z, 0-9 and _ only")]
pub struct SlotNameError;

/// `NAMEDATALEN` - 1
const NAME_BYTES_MAX: usize = 63;

impl SlotName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SlotName {
    type Err = SlotNameError;

    fn from_str(text: &str) -> Result<Self, SlotNameError> {
        let fits = (1..=NAME_BYTES_MAX).contains(&text.len());
        let legal = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        if !fits || !text.bytes().all(legal) {
            return Err(SlotNameError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How long a new slot lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotLife {
    /// Until it is dropped; holds back the source's WAL until then.
    Permanent,
    /// As long as the session that created it.
    Temporary,
}

/// A new slot, and the state of the database that its stream starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedSlot {
    /// The stream has what commits after this point, the snapshot what committed before.
    pub consistent_point: Lsn,
    /// For `set transaction snapshot`. Other sessions can take it as long as the session that
    /// created the slot is open and gets no further command.
    pub snapshot_name: String,
}

#[cfg(test)]
mod tests {
    use super::{SlotName, SlotNameError};

    #[track_caller]
    fn check(text: &str, expected: Result<&str, SlotNameError>) {
        let name = text.parse::<SlotName>();
        assert_eq!(
            name.as_ref().map(SlotName::as_str),
            expected.as_ref().copied()
        );
    }

    #[test]
    fn names_are_what_postgres_takes() {
        check("lockstep_1", Ok("lockstep_1"));
        check(&"s".repeat(63), Ok(&"s".repeat(63)));
        for text in ["", "Slot", "a-b", "a b", "a\"", "ä", &"s".repeat(64)] {
            check(text, Err(SlotNameError));
        }
    }
}
