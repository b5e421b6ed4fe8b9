//! What the registry knows: the sum of all events. No I/O here; the file is in `store`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::event::{Event, SchemaId, Version};
use super::level::Level;
use super::schema::{ParseError, Schema};

/// Clients read ids and versions as signed 32-bit numbers; one less, so that there is a next one.
const MAX_NUMBER: u32 = i32::MAX.unsigned_abs() - 1;

#[derive(Debug, Default)]
pub(crate) struct State {
    schemas: BTreeMap<SchemaId, Entry>,
    ids: HashMap<Arc<str>, SchemaId>,
    subjects: BTreeMap<String, Subject>,
    levels: BTreeMap<String, Level>,
    global_level: Option<Level>,
    /// The highest id ever given, so that the next is new even when that schema is erased.
    last_id: u32,
}

/// A schema text and the places that use it. The parsed form takes many times the space and is
/// needed only to compare, so it is made then.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) text: Arc<str>,
    pub(crate) uses: BTreeSet<(String, Version)>,
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

impl Entry {
    pub(crate) fn parsed(&self) -> Schema {
        Schema::parse(&self.text).expect("parsed before it became an entry")
    }
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
        self.schemas.get(&id)
    }

    pub(crate) fn id_of(&self, text: &str) -> Option<SchemaId> {
        self.ids.get(text).copied()
    }

    /// The id for a text that has none yet.
    pub(crate) fn next_id(&self) -> SchemaId {
        SchemaId(self.last_id + 1)
    }

    /// The number for a subject's next version. Deleted versions count, erased ones do not.
    pub(crate) fn next_version(&self, subject: &str) -> Version {
        let last = self
            .subject(subject)
            .and_then(|subject| subject.versions.keys().next_back());
        Version(last.map_or(0, |version| version.0) + 1)
    }

    /// The level set for the subject itself.
    pub(crate) fn own_level(&self, subject: &str) -> Option<Level> {
        self.levels.get(subject).copied()
    }

    pub(crate) fn global_level(&self) -> Level {
        self.global_level.unwrap_or_default()
    }

    /// The level that a new schema of the subject must satisfy.
    pub(crate) fn level(&self, subject: &str) -> Level {
        self.own_level(subject)
            .unwrap_or_else(|| self.global_level())
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
            } => {
                self.registered(subject, version, id, schema)?;
            }
            Event::VersionDeleted { subject, version } => {
                self.version_mut(&subject, version)?.deleted = true;
                if self.subject(&subject).is_some_and(Subject::is_deleted) {
                    self.levels.remove(&subject);
                }
            }
            Event::VersionErased { subject, version } => {
                self.version_mut(&subject, version)?;
                self.erase(&subject, &[version]);
            }
            Event::SubjectDeleted { subject } => {
                for version in self.subject_mut(&subject)?.versions.values_mut() {
                    version.deleted = true;
                }
                self.levels.remove(&subject);
            }
            Event::SubjectErased { subject } => {
                let versions: Vec<_> = self
                    .subject_mut(&subject)?
                    .versions
                    .keys()
                    .copied()
                    .collect();
                self.erase(&subject, &versions);
            }
            Event::LevelSet {
                subject: Some(subject),
                level,
            } => {
                self.levels.insert(subject, level);
            }
            Event::LevelSet {
                subject: None,
                level,
            } => self.global_level = Some(level),
            Event::LevelCleared {
                subject: Some(subject),
            } => {
                self.levels.remove(&subject);
            }
            Event::LevelCleared { subject: None } => self.global_level = None,
        }
        Ok(())
    }

    fn registered(
        &mut self,
        subject: String,
        version: Version,
        id: SchemaId,
        text: String,
    ) -> Result<(), Contradiction> {
        if version < self.next_version(&subject) {
            return Err(Contradiction::VersionTaken {
                subject,
                version: version.0,
            });
        }
        if id.0 > MAX_NUMBER || version.0 > MAX_NUMBER {
            return Err(Contradiction::OutOfRange);
        }
        match self.schemas.get(&id) {
            Some(entry) if *entry.text != *text => return Err(Contradiction::IdTaken(id.0)),
            Some(_) => {}
            None if id.0 <= self.last_id => return Err(Contradiction::IdReused(id.0)),
            None => {
                Schema::parse(&text).map_err(|cause| Contradiction::Schema { id: id.0, cause })?;
                let text: Arc<str> = text.into();
                self.ids.insert(Arc::clone(&text), id);
                let entry = Entry {
                    text,
                    uses: BTreeSet::new(),
                };
                self.schemas.insert(id, entry);
                self.last_id = id.0;
            }
        }
        if let Some(entry) = self.schemas.get_mut(&id) {
            entry.uses.insert((subject.clone(), version));
        }
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

    /// Forgets versions, and with them the schemas that nothing uses any more.
    fn erase(&mut self, name: &str, versions: &[Version]) {
        let Some(subject) = self.subjects.get_mut(name) else {
            return;
        };
        for version in versions {
            let Some(erased) = subject.versions.remove(version) else {
                continue;
            };
            let Some(entry) = self.schemas.get_mut(&erased.id) else {
                continue;
            };
            entry.uses.remove(&(name.to_owned(), *version));
            if entry.uses.is_empty() {
                self.ids.remove(&entry.text);
                self.schemas.remove(&erased.id);
            }
        }
        if subject.versions.is_empty() {
            self.subjects.remove(name);
        }
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

/// An event that cannot follow those before it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Contradiction {
    #[error("subject '{subject}' has a version {version} or a later one already")]
    VersionTaken { subject: String, version: u32 },
    #[error("id {0} belongs to another schema")]
    IdTaken(u32),
    #[error("id {0} was given before and is not free again")]
    IdReused(u32),
    #[error("ids and versions end at {MAX_NUMBER}")]
    OutOfRange,
    #[error("the schema with id {id} cannot be parsed: {cause}")]
    Schema { id: u32, cause: ParseError },
    #[error("there is no subject '{0}'")]
    NoSubject(String),
    #[error("subject '{subject}' has no version {version}")]
    NoVersion { subject: String, version: u32 },
}
