//! What a record says was done.

use std::fmt;
use std::str::FromStr;

/// Debezium's `op` codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    Create,
    Update,
    Delete,
    /// A row as a snapshot found it.
    Read,
    Truncate,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
// Not which: in a damaged record it may be a value.
#[error("unknown operation code")]
pub struct UnknownOp;

impl Op {
    pub const fn code(self) -> &'static str {
        match self {
            Self::Create => "c",
            Self::Update => "u",
            Self::Delete => "d",
            Self::Read => "r",
            Self::Truncate => "t",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Op {
    type Err = UnknownOp;

    fn from_str(code: &str) -> Result<Self, UnknownOp> {
        match code {
            "c" => Ok(Self::Create),
            "u" => Ok(Self::Update),
            "d" => Ok(Self::Delete),
            "r" => Ok(Self::Read),
            "t" => Ok(Self::Truncate),
            _ => Err(UnknownOp),
        }
    }
}
