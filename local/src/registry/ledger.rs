//! The registry's rules: what may be registered, changed and deleted. Each change is an event,
//! stored first and then applied, so that nothing is answered that a crash could take back.

use std::sync::Arc;

use super::canonical::{Properties, canonical_text};
use super::compatibility::Incompatibility;
use super::error::ApiError;
use super::event::{Event, SchemaId, Version};
use super::level::Level;
use super::schema::Schema;
use super::state::{Show, State, Subject, SubjectVersion};
use super::store::{AppendError, Store};

#[derive(Debug)]
pub(crate) struct Ledger {
    state: State,
    store: Store,
}

/// A schema somebody asks about or wants to register.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) text: String,
    pub(crate) schema: Schema,
}

impl Candidate {
    pub(crate) fn parse(text: &str, properties: Properties) -> Result<Self, ApiError> {
        let schema =
            Schema::parse(text).map_err(|error| ApiError::InvalidSchema(error.to_string()))?;
        schema
            .check_defaults()
            .map_err(|error| ApiError::InvalidSchema(error.to_string()))?;
        Ok(Self {
            text: canonical_text(&schema, properties),
            schema,
        })
    }
}

/// Numbers that a register request may ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) id: Option<i64>,
    pub(crate) version: Option<i64>,
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

impl Ledger {
    pub(crate) fn new(state: State, store: Store) -> Self {
        Self { state, store }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Gives the candidate an id and the subject a version, unless it has them already.
    pub(crate) fn register(
        &mut self,
        subject: &str,
        candidate: &Candidate,
        wish: Wish,
    ) -> Result<SchemaId, ApiError> {
        check_subject(subject)?;
        if let Some(known) = self.find(subject, &candidate.text, Show::Live) {
            return Ok(known.id);
        }
        if wish.id.is_some_and(|id| id >= 0) {
            return Err(ApiError::NotInImportMode(subject.to_owned()));
        }
        let version = self.state.next_version(subject);
        if wish
            .version
            .is_some_and(|wish| wish > 0 && wish != i64::from(version.0))
        {
            let message = "Version is not one more than previous version".to_owned();
            return Err(ApiError::InvalidSchema(message));
        }
        let details = self.objections(subject, candidate, Against::ByLevel)?;
        if !details.is_empty() {
            return Err(ApiError::Incompatible {
                subject: subject.to_owned(),
                details,
            });
        }
        let id = self
            .state
            .id_of(&candidate.text)
            .unwrap_or_else(|| self.state.next_id());
        self.commit(Event::Registered {
            subject: subject.to_owned(),
            version,
            id,
            schema: candidate.text.clone(),
        })?;
        Ok(id)
    }

    /// The newest version of the subject with exactly this text.
    pub(crate) fn find(&self, subject: &str, text: &str, show: Show) -> Option<SubjectVersion> {
        let id = self.state.id_of(text)?;
        self.state
            .subject(subject)?
            .versions(show)
            .rev()
            .find(|version| version.id == id)
    }

    /// What the subject's level has against the candidate, in the words of the answer; empty when
    /// it is compatible.
    pub(crate) fn objections(
        &self,
        subject: &str,
        candidate: &Candidate,
        against: Against,
    ) -> Result<Vec<String>, ApiError> {
        let level = self.state.level(subject);
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
            let found = level.objections(&candidate.schema, &old.parsed());
            if !found.is_empty() {
                return Ok(details(&found, level, version.version, &old.text));
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

    pub(crate) fn text(&self, id: SchemaId) -> Result<Arc<str>, ApiError> {
        let entry = self
            .state
            .schema(id)
            .ok_or(ApiError::SchemaIdNotFound(id.0))?;
        Ok(Arc::clone(&entry.text))
    }

    pub(crate) fn delete_subject(&mut self, name: &str) -> Result<Vec<Version>, ApiError> {
        if self.subject(name, Show::All)?.is_deleted() {
            return Err(ApiError::SubjectSoftDeleted(name.to_owned()));
        }
        let versions = numbers(self.subject(name, Show::Live)?, Show::Live);
        self.commit(Event::SubjectDeleted {
            subject: name.to_owned(),
        })?;
        Ok(versions)
    }

    pub(crate) fn erase_subject(&mut self, name: &str) -> Result<Vec<Version>, ApiError> {
        let subject = self.subject(name, Show::All)?;
        if !subject.is_deleted() {
            return Err(ApiError::SubjectNotSoftDeleted(name.to_owned()));
        }
        let versions = numbers(subject, Show::All);
        self.commit(Event::SubjectErased {
            subject: name.to_owned(),
        })?;
        Ok(versions)
    }

    pub(crate) fn delete_version(
        &mut self,
        subject: &str,
        which: Which,
    ) -> Result<Version, ApiError> {
        let found = self.version_to_delete(subject, which)?;
        let (subject, version) = (subject.to_owned(), found.version);
        if found.deleted {
            return Err(ApiError::VersionSoftDeleted { subject, version });
        }
        self.commit(Event::VersionDeleted { subject, version })?;
        Ok(version)
    }

    pub(crate) fn erase_version(
        &mut self,
        subject: &str,
        which: Which,
    ) -> Result<Version, ApiError> {
        let found = self.version_to_delete(subject, which)?;
        let (subject, version) = (subject.to_owned(), found.version);
        if !found.deleted {
            return Err(ApiError::VersionNotSoftDeleted { subject, version });
        }
        self.commit(Event::VersionErased { subject, version })?;
        Ok(version)
    }

    /// A number may be that of a deleted version; "latest" is the latest live one.
    fn version_to_delete(&self, subject: &str, which: Which) -> Result<SubjectVersion, ApiError> {
        self.subject(subject, Show::All)?;
        match which {
            Which::Latest => self.version(subject, which, Show::Live),
            Which::Number(_) => self.version(subject, which, Show::All),
        }
    }

    pub(crate) fn set_level(
        &mut self,
        subject: Option<&str>,
        level: Level,
    ) -> Result<(), ApiError> {
        if let Some(subject) = subject {
            check_subject(subject)?;
        }
        Ok(self.commit(Event::LevelSet {
            subject: subject.map(str::to_owned),
            level,
        })?)
    }

    /// Returns the level that was set and is not any more.
    pub(crate) fn clear_level(&mut self, subject: Option<&str>) -> Result<Level, ApiError> {
        let old = match subject {
            None => self.state.global_level(),
            Some(name) => self
                .state
                .own_level(name)
                .ok_or_else(|| ApiError::SubjectNotFound(name.to_owned()))?,
        };
        self.commit(Event::LevelCleared {
            subject: subject.map(str::to_owned),
        })?;
        Ok(old)
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
fn check_subject(subject: &str) -> Result<(), ApiError> {
    let reserved = matches!(subject, "" | "__GLOBAL" | "__EMPTY");
    if reserved || subject.starts_with(":.") || subject.chars().any(char::is_control) {
        return Err(ApiError::InvalidSubject(subject.to_owned()));
    }
    Ok(())
}

fn numbers(subject: &Subject, show: Show) -> Vec<Version> {
    subject
        .versions(show)
        .map(|version| version.version)
        .collect()
}

/// In Confluent's shape, which people and tools have learned to read.
fn details(found: &[Incompatibility], level: Level, version: Version, old: &str) -> Vec<String> {
    let mut details: Vec<String> = found.iter().map(Incompatibility::describe).collect();
    details.push(format!("{{oldSchemaVersion: {}}}", version.0));
    details.push(format!("{{oldSchema: '{old}'}}"));
    details.push(format!(
        "{{validateFields: 'false', compatibility: '{level}'}}"
    ));
    details
}
