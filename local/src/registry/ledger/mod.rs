//! The registry's rules: what may be registered, changed and deleted. Each change is an event,
//! stored first and then applied, so that nothing is answered that a crash could take back.

mod candidate;
mod deletion;
mod registration;
mod settings;

use std::sync::Arc;

pub(crate) use candidate::{Candidate, Draft, DraftReference};
pub(crate) use registration::Wish;
pub(crate) use settings::Force;

use super::canonical::resolved_text;
use super::error::ApiError;
use super::event::{Event, SchemaId, Version};
use super::level::Level;
use super::state::{Entry, Show, State, Subject, SubjectVersion};
use super::store::{AppendError, Store};

#[derive(Debug)]
pub(crate) struct Ledger {
    state: State,
    store: Store,
}

/// Which version of a subject is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Latest,
    Number(Version),
}

/// With which of a subject's versions a candidate is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Against {
    /// The latest or all, as the level says.
    ByLevel,
    One(Which),
}

/// How a schema's text is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Stored,
    Resolved,
}

impl Ledger {
    pub(crate) fn new(state: State, store: Store) -> Self {
        Self { state, store }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// The newest version of the subject with exactly this content. A candidate that refers to
    /// nothing is also one with the same text once its references are resolved: that is how
    /// serializers send a schema that was registered with references.
    pub(crate) fn find(
        &self,
        subject: &str,
        candidate: &Candidate,
        show: Show,
    ) -> Option<SubjectVersion> {
        let versions = || {
            self.state
                .subject(subject)
                .into_iter()
                .flat_map(|s| s.versions(show).rev())
        };
        let entries =
            || versions().filter_map(|version| Some((version, self.state.schema(version.id)?)));
        let same = entries().find(|(_, entry)| entry.content == candidate.content);
        let resolved = |entry: &Entry| {
            candidate.content.references.is_empty()
                && !entry.content.references.is_empty()
                && *resolved_text(&self.state.parsed(entry)) == *candidate.content.text
        };
        let found = same.or_else(|| entries().find(|(_, entry)| resolved(entry)));
        found.map(|(version, _)| version)
    }

    /// What the subject's level has against the candidate, in the words of the answer; empty when
    /// it is compatible.
    pub(crate) fn objections(
        &self,
        subject: &str,
        candidate: &Candidate,
        against: Against,
    ) -> Result<Vec<String>, ApiError> {
        let level = self.state.scopes().level(subject);
        let live = || {
            self.state
                .subject(subject)
                .into_iter()
                .flat_map(|s| s.versions(Show::Live))
        };
        let versions: Vec<SubjectVersion> = match against {
            Against::ByLevel if level.is_transitive() => live().rev().collect(),
            Against::ByLevel | Against::One(Which::Latest) => {
                live().next_back().into_iter().collect()
            }
            Against::One(Which::Number(number)) => {
                let version = live().find(|version| version.version == number);
                vec![version.ok_or_else(|| ApiError::VersionNotFound(number.0.to_string()))?]
            }
        };
        for version in versions {
            let Some(old) = self.state.schema(version.id) else {
                continue;
            };
            let found = level.objections(&candidate.schema, &self.state.parsed(old));
            if !found.is_empty() {
                return Ok(details(found, level, version.version, &old.content.text));
            }
        }
        Ok(Vec::new())
    }

    pub(crate) fn subject(&self, name: &str, show: Show) -> Result<&Subject, ApiError> {
        self.state
            .subject(name)
            .filter(|subject| subject.versions(show).next().is_some())
            .ok_or_else(|| ApiError::SubjectNotFound(name.to_owned()))
    }

    pub(crate) fn version(
        &self,
        subject: &str,
        which: Which,
        show: Show,
    ) -> Result<SubjectVersion, ApiError> {
        let mut versions = self.subject(subject, show)?.versions(show);
        match which {
            Which::Latest => versions
                .next_back()
                .ok_or_else(|| ApiError::VersionNotFound("latest".to_owned())),
            Which::Number(number) => versions
                .find(|version| version.version == number)
                .ok_or_else(|| ApiError::VersionNotFound(number.0.to_string())),
        }
    }

    pub(crate) fn entry(&self, id: SchemaId) -> Result<&Entry, ApiError> {
        self.state
            .schema(id)
            .ok_or(ApiError::SchemaIdNotFound(id.0))
    }

    /// The schema's text, as it is stored or with what it refers to defined in it.
    pub(crate) fn text(&self, entry: &Entry, format: Format) -> Arc<str> {
        match format {
            Format::Stored => Arc::clone(&entry.content.text),
            Format::Resolved => resolved_text(&self.state.parsed(entry)).into(),
        }
    }

    fn commit(&mut self, event: Event) -> Result<(), AppendError> {
        self.store.append(&event)?;
        self.state
            .apply(event)
            .expect("the event was made from this very state");
        Ok(())
    }
}

/// Contexts (`:.context:subject`) are refused: there is one, the default.
pub(crate) fn check_subject(subject: &str) -> Result<(), ApiError> {
    let reserved = matches!(subject, "" | "__GLOBAL" | "__EMPTY");
    if reserved || subject.starts_with(":.") || subject.chars().any(char::is_control) {
        return Err(ApiError::InvalidSubject(subject.to_owned()));
    }
    Ok(())
}

/// In Confluent's shape, which people and tools have learned to read.
fn details(mut found: Vec<String>, level: Level, version: Version, old: &str) -> Vec<String> {
    found.push(format!("{{oldSchemaVersion: {}}}", version.0));
    found.push(format!("{{oldSchema: '{old}'}}"));
    found.push(format!(
        "{{validateFields: 'false', compatibility: '{level}'}}"
    ));
    found
}
