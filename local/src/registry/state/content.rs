//! The schemas that the registry knows, by id.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::Contradiction;
use crate::registry::event::{Reference, SchemaId, Version};

/// What makes a schema this one and no other: its canonical text and what it refers to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Content {
    pub(crate) text: Arc<str>,
    pub(crate) references: Arc<[Reference]>,
}

/// A schema and the places that use it. The parsed form takes many times the space and is needed
/// only to compare, so it is made then.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) content: Content,
    pub(crate) uses: BTreeSet<(String, Version)>,
}

#[derive(Debug, Default)]
pub(super) struct Contents {
    entries: BTreeMap<SchemaId, Entry>,
    /// More than one id for a content is a work of imports.
    ids: HashMap<Content, BTreeSet<SchemaId>>,
    /// What the ids that nothing uses any more stood for. They never stand for anything else.
    erased: BTreeMap<SchemaId, Content>,
    /// The highest id ever given.
    last_id: u32,
}

impl Entry {
    pub(crate) fn refers_to(&self, subject: &str, version: Version) -> bool {
        let mut references = self.content.references.iter();
        references.any(|to| to.subject == subject && to.version == version)
    }
}

impl Contents {
    pub(super) fn entry(&self, id: SchemaId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (SchemaId, &Entry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    /// The id of a content, the first one where imports gave it several.
    pub(super) fn id_of(&self, content: &Content) -> Option<SchemaId> {
        self.ids.get(content)?.first().copied()
    }

    pub(super) fn last_id(&self) -> u32 {
        self.last_id
    }

    /// Whether the id may stand for the content.
    pub(super) fn check(&self, id: SchemaId, content: &Content) -> Result<(), Contradiction> {
        if self
            .entry(id)
            .is_some_and(|entry| entry.content != *content)
        {
            return Err(Contradiction::IdTaken(id.0));
        }
        if self.erased.get(&id).is_some_and(|known| known != content) {
            return Err(Contradiction::IdReused(id.0));
        }
        Ok(())
    }

    /// Takes in a use that was checked.
    pub(super) fn add(&mut self, id: SchemaId, content: Content, place: (String, Version)) {
        self.erased.remove(&id);
        self.last_id = self.last_id.max(id.0);
        self.ids.entry(content.clone()).or_default().insert(id);
        let entry = self.entries.entry(id).or_insert_with(|| Entry {
            content,
            uses: BTreeSet::new(),
        });
        entry.uses.insert(place);
    }

    /// Forgets a use, and with it the schema that nothing uses any more.
    pub(super) fn remove(&mut self, id: SchemaId, place: &(String, Version)) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.uses.remove(place);
        if !entry.uses.is_empty() {
            return;
        }
        if let Some(Entry { content, .. }) = self.entries.remove(&id) {
            if let Some(ids) = self.ids.get_mut(&content) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.ids.remove(&content);
                }
            }
            self.erased.insert(id, content);
        }
    }
}
