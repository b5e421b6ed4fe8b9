//! What the registry knows: the sum of all events. No I/O here; the file is in `store`.

mod content;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

pub(crate) use content::{Content, Entry};

use super::event::{Event, Reference, SchemaId, Version};
use super::schema::{ParseError, Schema};
use super::scope::{Scopes, Settings};
use content::Contents;

/// Clients read ids and versions as signed 32-bit numbers; one less, so that there is a next one.
pub(crate) const MAX_NUMBER: u32 = i32::MAX.unsigned_abs() - 1;

/// How many schemas may stand between one and what it refers to in the end: each is a call deep.
const MAX_REFERENCE_DEPTH: usize = 100;

#[derive(Debug, Default)]
pub(crate) struct State {
    contents: Contents,
    subjects: BTreeMap<String, Subject>,
    scopes: Scopes,
}

/// The versions of one subject, deleted ones included, oldest first. Never empty.
#[derive(Debug, Default)]
pub(crate) struct Subject {
    versions: BTreeMap<Version, SubjectVersion>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct SubjectVersion {
    pub(crate) version: Version,
    pub(crate) id: SchemaId,
    pub(crate) deleted: bool,
}

/// Whether deleted subjects and versions take part in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    Live,
    All,
    DeletedOnly,
}

impl Show {
    pub(crate) fn admits(self, deleted: bool) -> bool {
        match self {
            Self::Live => !deleted,
            Self::All => true,
            Self::DeletedOnly => deleted,
        }
    }
}

impl Subject {
    pub(crate) fn versions(&self, show: Show) -> impl DoubleEndedIterator<Item = SubjectVersion> {
        self.versions
            .values()
            .copied()
            .filter(move |version| show.admits(version.deleted))
    }

    pub(crate) fn version(&self, version: Version) -> Option<SubjectVersion> {
        self.versions.get(&version).copied()
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.versions(Show::Live).next().is_none()
    }
}

impl State {
    pub(crate) fn subject(&self, name: &str) -> Option<&Subject> {
        self.subjects.get(name)
    }

    pub(crate) fn subjects(&self) -> impl Iterator<Item = (&str, &Subject)> {
        self.subjects
            .iter()
            .map(|(name, subject)| (name.as_str(), subject))
    }

    pub(crate) fn schema(&self, id: SchemaId) -> Option<&Entry> {
        self.contents.entry(id)
    }

    pub(crate) fn id_of(&self, content: &Content) -> Option<SchemaId> {
        self.contents.id_of(content)
    }

    /// Whether an import may give this id to the content.
    pub(crate) fn check_id(&self, id: SchemaId, content: &Content) -> Result<(), Contradiction> {
        self.contents.check(id, content)
    }

    /// The highest id ever given.
    pub(crate) fn last_id(&self) -> u32 {
        self.contents.last_id()
    }

    /// The id for a content that has none yet. An erased one is not given again.
    pub(crate) fn next_id(&self) -> SchemaId {
        SchemaId(self.last_id() + 1)
    }

    /// The texts of what a schema refers to, each after those that it uses.
    pub(crate) fn resolve(&self, references: &[Reference]) -> Result<Vec<Arc<str>>, Unresolved> {
        let mut texts = Vec::new();
        self.collect(references, 0, &mut HashSet::new(), &mut texts)?;
        Ok(texts)
    }

    fn collect<'a>(
        &'a self,
        references: &'a [Reference],
        depth: usize,
        seen: &mut HashSet<(&'a str, Version)>,
        texts: &mut Vec<Arc<str>>,
    ) -> Result<(), Unresolved> {
        if depth > MAX_REFERENCE_DEPTH {
            return Err(Unresolved::TooDeep);
        }
        for reference in references {
            let (subject, version) = (reference.subject.as_str(), reference.version);
            if !seen.insert((subject, version)) {
                continue;
            }
            let known = self.subject(subject).and_then(|s| s.version(version));
            let entry = known.and_then(|version| self.schema(version.id));
            let entry = entry.ok_or_else(|| Unresolved::Missing(reference.clone()))?;
            self.collect(&entry.content.references, depth + 1, seen, texts)?;
            texts.push(Arc::clone(&entry.content.text));
        }
        Ok(())
    }

    pub(crate) fn parse(&self, content: &Content) -> Result<Schema, SchemaError> {
        let referenced = self.resolve(&content.references)?;
        Ok(Schema::parse_with(&content.text, &referenced)?)
    }

    pub(crate) fn parsed(&self, entry: &Entry) -> Schema {
        self.parse(&entry.content)
            .expect("parsed before it became an entry, and what it refers to cannot be erased")
    }

    /// The schemas that refer to a version and are used by a version that `show` admits.
    pub(crate) fn referrers(
        &self,
        subject: &str,
        version: Version,
        show: Show,
    ) -> impl Iterator<Item = (SchemaId, &Entry)> {
        self.contents.entries().filter(move |(_, entry)| {
            entry.refers_to(subject, version) && self.uses(entry, show).next().is_some()
        })
    }

    /// The places that use a schema, sorted by subject and version.
    pub(crate) fn uses<'a>(
        &'a self,
        entry: &'a Entry,
        show: Show,
    ) -> impl Iterator<Item = (&'a str, Version)> {
        let uses = entry.uses.iter().filter(move |(subject, version)| {
            let version = self.subject(subject).and_then(|s| s.version(*version));
            version.is_some_and(|version| show.admits(version.deleted))
        });
        uses.map(|(subject, version)| (subject.as_str(), *version))
    }

    /// The number for a subject's next version. Deleted versions count, erased ones do not.
    pub(crate) fn next_version(&self, subject: &str) -> Version {
        let last = self
            .subject(subject)
            .and_then(|subject| subject.versions.keys().next_back());
        Version(last.map_or(0, |version| version.0) + 1)
    }

    pub(crate) fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// Takes in one event. An error leaves the state as it was: the file is then no history of a
    /// registry.
    pub(crate) fn apply(&mut self, event: Event) -> Result<(), Contradiction> {
        match event {
            Event::Registered {
                subject,
                version,
                id,
                schema,
                references,
            } => {
                let content = Content {
                    text: schema.into(),
                    references: references.into(),
                };
                self.registered(subject, version, id, content)?;
            }
            Event::VersionDeleted { subject, version } => {
                self.version_mut(&subject, version)?.deleted = true;
                if self.subject(&subject).is_some_and(Subject::is_deleted) {
                    self.scopes.forget(&subject);
                }
            }
            Event::VersionErased { subject, version } => {
                self.version_mut(&subject, version)?;
                self.erase(&subject, &[version])?;
            }
            Event::SubjectDeleted { subject } => {
                for version in self.subject_mut(&subject)?.versions.values_mut() {
                    version.deleted = true;
                }
                self.scopes.forget(&subject);
            }
            Event::SubjectErased { subject } => {
                let versions = self.subject_mut(&subject)?.versions.keys();
                let versions: Vec<Version> = versions.copied().collect();
                self.erase(&subject, &versions)?;
            }
            Event::EverythingErased {} => self.erase_everything()?,
            Event::ConfigSet {
                subject,
                level,
                normalize,
                alias,
            } => {
                let settings = Settings {
                    level,
                    normalize,
                    alias,
                };
                self.scopes.set(subject, settings);
            }
            Event::ConfigCleared { subject } => self.scopes.clear(subject),
            Event::ModeSet { subject, mode } => self.scopes.set_mode(subject, Some(mode)),
            Event::ModeCleared { subject } => self.scopes.set_mode(subject, None),
        }
        Ok(())
    }

    fn registered(
        &mut self,
        subject: String,
        version: Version,
        id: SchemaId,
        content: Content,
    ) -> Result<(), Contradiction> {
        let taken = self.subject(&subject).and_then(|s| s.version(version));
        if taken.is_some() {
            return Err(Contradiction::VersionTaken {
                subject,
                version: version.0,
            });
        }
        if id.0 > MAX_NUMBER || version.0 > MAX_NUMBER {
            return Err(Contradiction::OutOfRange);
        }
        self.contents.check(id, &content)?;
        if self.schema(id).is_none() {
            self.parse(&content)
                .map_err(|cause| Contradiction::Schema { id: id.0, cause })?;
        }
        self.contents.add(id, content, (subject.clone(), version));
        let new = SubjectVersion {
            version,
            id,
            deleted: false,
        };
        self.subjects
            .entry(subject)
            .or_default()
            .versions
            .insert(version, new);
        Ok(())
    }

    /// Whether a schema that outlives these versions refers to one of them: which.
    pub(crate) fn is_referred_to(&self, subject: &str, versions: &[Version]) -> Option<Version> {
        let goes_too = |place: &(&str, Version)| place.0 == subject && versions.contains(&place.1);
        versions.iter().copied().find(|version| {
            let mut referrers = self.referrers(subject, *version, Show::All);
            referrers.any(|(_, entry)| !self.uses(entry, Show::All).all(|place| goes_too(&place)))
        })
    }

    /// Forgets versions, and with them the schemas that nothing uses any more.
    fn erase(&mut self, name: &str, versions: &[Version]) -> Result<(), Contradiction> {
        if let Some(version) = self.is_referred_to(name, versions) {
            return Err(Contradiction::ReferredTo {
                subject: name.to_owned(),
                version: version.0,
            });
        }
        let subject = self.subject_mut(name)?;
        let erased: Vec<SubjectVersion> = versions
            .iter()
            .filter_map(|version| subject.versions.remove(version))
            .collect();
        if subject.versions.is_empty() {
            self.subjects.remove(name);
        }
        for SubjectVersion { version, id, .. } in erased {
            self.contents.remove(id, &(name.to_owned(), version));
        }
        Ok(())
    }

    fn erase_everything(&mut self) -> Result<(), Contradiction> {
        if let Some((name, _)) = self.subjects().find(|(_, subject)| !subject.is_deleted()) {
            return Err(Contradiction::NotDeleted(name.to_owned()));
        }
        for (name, subject) in std::mem::take(&mut self.subjects) {
            for SubjectVersion { version, id, .. } in subject.versions(Show::All) {
                self.contents.remove(id, &(name.clone(), version));
            }
        }
        Ok(())
    }

    fn subject_mut(&mut self, name: &str) -> Result<&mut Subject, Contradiction> {
        self.subjects
            .get_mut(name)
            .ok_or_else(|| Contradiction::NoSubject(name.to_owned()))
    }

    fn version_mut(
        &mut self,
        name: &str,
        version: Version,
    ) -> Result<&mut SubjectVersion, Contradiction> {
        self.subject_mut(name)?
            .versions
            .get_mut(&version)
            .ok_or_else(|| Contradiction::NoVersion {
                subject: name.to_owned(),
                version: version.0,
            })
    }
}

/// What a schema refers to and the registry does not have.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unresolved {
    #[error("no schema reference found for subject \"{}\" and version {}", .0.subject, .0.version.0)]
    Missing(Reference),
    #[error("references lead through more than {MAX_REFERENCE_DEPTH} schemas")]
    TooDeep,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SchemaError {
    #[error(transparent)]
    Unresolved(#[from] Unresolved),
    #[error(transparent)]
    Parse(#[from] ParseError),
}

/// An event that cannot follow those before it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Contradiction {
    #[error("subject '{subject}' has a version {version} already")]
    VersionTaken { subject: String, version: u32 },
    #[error("id {0} belongs to another schema")]
    IdTaken(u32),
    #[error("id {0} was given to another schema before and is not free again")]
    IdReused(u32),
    #[error("ids and versions end at {MAX_NUMBER}")]
    OutOfRange,
    #[error("the schema with id {id} cannot be parsed: {cause}")]
    Schema { id: u32, cause: SchemaError },
    #[error("there is no subject '{0}'")]
    NoSubject(String),
    #[error("subject '{subject}' has no version {version}")]
    NoVersion { subject: String, version: u32 },
    #[error("another schema refers to version {version} of subject '{subject}'")]
    ReferredTo { subject: String, version: u32 },
    #[error("subject '{0}' is not deleted")]
    NotDeleted(String),
}
