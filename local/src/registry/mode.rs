//! What may be done to a subject: its mode, or that of the registry.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Confluent's modes but for FORWARD, which hands requests on to another registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Mode {
    #[default]
    ReadWrite,
    ReadOnly,
    /// As `ReadOnly`; set for the registry, it goes before the subjects' own modes.
    #[serde(rename = "READONLY_OVERRIDE")]
    ReadOnlyOverride,
    /// Schemas come with the ids that they have elsewhere, and are not compared.
    Import,
}

impl Mode {
    const ALL: [Self; 4] = [
        Self::ReadWrite,
        Self::ReadOnly,
        Self::ReadOnlyOverride,
        Self::Import,
    ];

    pub(crate) fn is_read_only(self) -> bool {
        match self {
            Self::ReadOnly | Self::ReadOnlyOverride => true,
            Self::ReadWrite | Self::Import => false,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::ReadWrite => "READWRITE",
            Self::ReadOnly => "READONLY",
            Self::ReadOnlyOverride => "READONLY_OVERRIDE",
            Self::Import => "IMPORT",
        }
    }
}

/// Not one of the four names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownMode;

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.name().eq_ignore_ascii_case(text))
            .ok_or(UnknownMode)
    }
}

#[cfg(test)]
mod tests {
    use super::{Mode, UnknownMode};

    #[test]
    fn names_are_read_in_any_case_and_written_in_capitals() {
        for mode in Mode::ALL {
            assert_eq!(mode.name().to_lowercase().parse(), Ok(mode));
            let written = serde_json::to_value(mode).unwrap();
            assert_eq!(written, mode.name());
        }
        assert_eq!("FORWARD".parse::<Mode>(), Err(UnknownMode));
    }
}
