//! What can happen to a registry: one event, one line of its file.

use serde::{Deserialize, Serialize};

use super::level::Level;

/// Identifies a schema text for ever: no other text gets the number, even after deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SchemaId(pub(crate) u32);

/// Counts the schemas of one subject, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Version(pub(crate) u32);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Event {
    /// The subject got a version. The schema stands here in full even when its id is not new: each
    /// line can be read, and the file repaired, by hand.
    Registered {
        subject: String,
        version: Version,
        id: SchemaId,
        schema: String,
    },
    /// Hidden from listings and checks; still there for those who ask for deleted ones.
    VersionDeleted {
        subject: String,
        version: Version,
    },
    VersionErased {
        subject: String,
        version: Version,
    },
    SubjectDeleted {
        subject: String,
    },
    SubjectErased {
        subject: String,
    },
    /// Without a subject: the level of all that have none of their own.
    LevelSet {
        subject: Option<String>,
        level: Level,
    },
    LevelCleared {
        subject: Option<String>,
    },
}
