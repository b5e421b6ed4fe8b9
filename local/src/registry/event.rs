//! What can happen to a registry: one event, one line of its file.

use serde::{Deserialize, Serialize};

use super::level::Level;
use super::mode::Mode;

/// Identifies a schema for ever: no other gets the number, even after deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SchemaId(pub(crate) u32);

/// Counts the schemas of one subject, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Version(pub(crate) u32);

/// A version of some subject whose types a schema uses. For Avro the name says nothing more.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reference {
    pub(crate) name: String,
    pub(crate) subject: String,
    pub(crate) version: Version,
}

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
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        references: Vec<Reference>,
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
    /// All subjects, each of them deleted before: an import begins with an empty registry.
    EverythingErased {},
    /// What is left out stays as it was. Without a subject: what holds for all that have none of
    /// their own.
    #[serde(alias = "level-set")]
    ConfigSet {
        subject: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        level: Option<Level>,
        #[serde(skip_serializing_if = "Option::is_none")]
        normalize: Option<bool>,
        /// An empty one takes the alias away.
        #[serde(skip_serializing_if = "Option::is_none")]
        alias: Option<String>,
    },
    #[serde(alias = "level-cleared")]
    ConfigCleared {
        subject: Option<String>,
    },
    ModeSet {
        subject: Option<String>,
        mode: Mode,
    },
    ModeCleared {
        subject: Option<String>,
    },
}
