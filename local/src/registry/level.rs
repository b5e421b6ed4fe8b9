//! The seven compatibility levels: which way a new schema is compared, and with how many old ones.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::compatibility::incompatibilities;
use super::schema::Schema;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Level {
    None,
    #[default]
    Backward,
    BackwardTransitive,
    Forward,
    ForwardTransitive,
    Full,
    FullTransitive,
}

impl Level {
    const ALL: [Self; 7] = [
        Self::None,
        Self::Backward,
        Self::BackwardTransitive,
        Self::Forward,
        Self::ForwardTransitive,
        Self::Full,
        Self::FullTransitive,
    ];

    /// Everything that this level has against `new` coming after `old`, a line each.
    pub(crate) fn objections(self, new: &Schema, old: &Schema) -> Vec<String> {
        let backward = || {
            let found = incompatibilities(new, old);
            found
                .into_iter()
                .map(|reason| reason.describe("new", "old"))
        };
        let forward = || {
            let found = incompatibilities(old, new);
            found
                .into_iter()
                .map(|reason| reason.describe("old", "new"))
        };
        match self {
            Self::None => Vec::new(),
            Self::Backward | Self::BackwardTransitive => backward().collect(),
            Self::Forward | Self::ForwardTransitive => forward().collect(),
            Self::Full | Self::FullTransitive => backward().chain(forward()).collect(),
        }
    }

    /// Whether a new schema is compared with all live versions rather than the latest.
    pub(crate) fn is_transitive(self) -> bool {
        match self {
            Self::BackwardTransitive | Self::ForwardTransitive | Self::FullTransitive => true,
            Self::None | Self::Backward | Self::Forward | Self::Full => false,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Backward => "BACKWARD",
            Self::BackwardTransitive => "BACKWARD_TRANSITIVE",
            Self::Forward => "FORWARD",
            Self::ForwardTransitive => "FORWARD_TRANSITIVE",
            Self::Full => "FULL",
            Self::FullTransitive => "FULL_TRANSITIVE",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Not one of the seven names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownLevel;

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        Self::ALL
            .into_iter()
            .find(|level| level.name().eq_ignore_ascii_case(text))
            .ok_or(UnknownLevel)
    }
}

#[cfg(test)]
mod tests {
    use super::{Level, Schema, UnknownLevel};

    /// `wide` reads what `narrow` writes, and not the other way round.
    #[track_caller]
    fn check(level: Level, widening: bool, narrowing: bool) {
        let (narrow, wide) = (
            Schema::parse("\"int\"").unwrap(),
            Schema::parse("\"long\"").unwrap(),
        );
        assert_eq!(
            level.objections(&wide, &narrow).is_empty(),
            widening,
            "{level} widening"
        );
        assert_eq!(
            level.objections(&narrow, &wide).is_empty(),
            narrowing,
            "{level} narrowing"
        );
    }

    #[test]
    fn each_level_compares_its_way() {
        check(Level::None, true, true);
        check(Level::Backward, true, false);
        check(Level::BackwardTransitive, true, false);
        check(Level::Forward, false, true);
        check(Level::ForwardTransitive, false, true);
        check(Level::Full, false, false);
        check(Level::FullTransitive, false, false);
    }

    /// `AvroSchema.isBackwardCompatible` and `CompatibilityChecker` of release 7.9: people search
    /// for these sentences.
    #[test]
    fn objections_are_told_in_confluents_words() {
        const INT: &str = "\"int\"";
        const TEXT: &str = "\"string\"";
        let fixed =
            |name: &str, size: u32| format!(r#"{{"type":"fixed","name":"{name}","size":{size}}}"#);
        let symbols =
            |symbols: &str| format!(r#"{{"type":"enum","name":"E","symbols":[{symbols}]}}"#);
        let record =
            |fields: &str| format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
        let cases = [
            (
                Level::Backward,
                INT.to_owned(),
                TEXT.to_owned(),
                "{errorType:'TYPE_MISMATCH', description:'The type (path '/') of a field in the new schema does not match with the old schema', additionalInfo:'reader type: INT not compatible with writer type: STRING'}",
            ),
            (
                Level::Forward,
                TEXT.to_owned(),
                INT.to_owned(),
                "{errorType:'TYPE_MISMATCH', description:'The type (path '/') of a field in the old schema does not match with the new schema', additionalInfo:'reader type: INT not compatible with writer type: STRING'}",
            ),
            (
                Level::Backward,
                fixed("F", 1),
                fixed("F", 2),
                "{errorType:'FIXED_SIZE_MISMATCH', description:'The size of FIXED type field at path '/size' in the new schema does not match with the old schema', additionalInfo:'expected: 2, found: 1'}",
            ),
            (
                Level::Backward,
                fixed("F", 1),
                fixed("G", 1),
                "{errorType:'NAME_MISMATCH', description:'The name of the schema has changed (path '/name')', additionalInfo:'expected: G'}",
            ),
            (
                Level::Backward,
                symbols("\"A\""),
                symbols("\"A\",\"B\""),
                "{errorType:'MISSING_ENUM_SYMBOLS', description:'The new schema is missing enum symbols '[B]' at path '/symbols' in the old schema', additionalInfo:'[B]'}",
            ),
            (
                Level::ForwardTransitive,
                record(""),
                record(r#"{"name":"a","type":"int"}"#),
                "{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', description:'The field 'a' at path '/fields/0' in the old schema has no default value and is missing in the new schema', additionalInfo:'a'}",
            ),
            (
                Level::Backward,
                r#"["null"]"#.to_owned(),
                r#"["null","int"]"#.to_owned(),
                "{errorType:'MISSING_UNION_BRANCH', description:'The new schema is missing a type inside a union field at path '/1' in the old schema', additionalInfo:'reader union lacking writer type: INT'}",
            ),
        ];
        for (level, new, old, expected) in cases {
            let (new, old) = (Schema::parse(&new).unwrap(), Schema::parse(&old).unwrap());
            assert_eq!(level.objections(&new, &old), [expected]);
        }
    }

    #[test]
    fn names_are_read_in_any_case() {
        assert_eq!("full_Transitive".parse(), Ok(Level::FullTransitive));
        assert_eq!("fulltransitive".parse::<Level>(), Err(UnknownLevel));
    }
}
