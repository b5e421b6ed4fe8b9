//! Which changes are applied, and which are set aside because an earlier one of their key was.
//!
//! Does no I/O.

use std::collections::{HashMap, HashSet};

use change::TableName;

use super::Change;
use crate::decode::{Action, Row};

/// Keys of rows whose changes are set aside, by table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeldKeys(HashMap<TableName, Held>);

/// What is held of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Held {
    Keys(HashSet<Row>),
    /// A change of it cannot be read: it may be of any key.
    All,
}

/// A portion's changes by what becomes of them, each kind in commit order.
#[derive(Debug, Default)]
pub(crate) struct Sifted<'a> {
    pub(crate) admitted: Vec<&'a Change>,
    pub(crate) aside: Vec<Aside<'a>>,
}

/// What is written down instead of being applied.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aside<'a> {
    /// Its record cannot be decoded.
    Unreadable(&'a Change),
    /// An earlier change of its key was set aside.
    Follows(&'a Change),
    /// Truncates its table: what was set aside of it does not matter any more.
    Closes(&'a Change),
}

impl HeldKeys {
    /// How many keys are kept here.
    pub(crate) fn count(&self) -> usize {
        let keys = |held: &Held| match held {
            Held::Keys(keys) => keys.len(),
            Held::All => 0,
        };
        self.0.values().map(keys).sum()
    }

    /// Whether a key of `table` is held.
    pub(crate) fn any_of(&self, table: &TableName) -> bool {
        self.0.contains_key(table)
    }

    /// Holds a key of a table.
    pub(crate) fn insert(&mut self, table: &TableName, key: Row) {
        match self.0.get_mut(table) {
            Some(Held::All) => {}
            Some(Held::Keys(keys)) => _ = keys.insert(key),
            None => {
                let keys = Held::Keys(HashSet::from([key]));
                self.0.insert(table.clone(), keys);
            }
        }
    }

    /// Holds all keys of a table.
    pub(crate) fn insert_all(&mut self, table: &TableName) {
        self.0.insert(table.clone(), Held::All);
    }

    /// Holds the keys that `change` touches.
    pub(crate) fn hold(&mut self, change: &Change) {
        let table = &change.plan.relation.table;
        if let Action::Unreadable(_) = change.action {
            self.insert_all(table);
        }
        let (key, moved_from) = change.keys();
        for key in key.into_iter().chain(moved_from.cloned()) {
            self.insert(table, key);
        }
    }

    /// Whether `change` touches a held key. If so, whatever else it touches is held from now on: a row
    /// that moves takes its history along.
    pub(crate) fn takes(&mut self, change: &Change) -> bool {
        let keys = match self.0.get(&change.plan.relation.table) {
            None => return false,
            Some(Held::All) => return true,
            Some(Held::Keys(keys)) => keys,
        };
        let (key, moved_from) = change.keys();
        let held = key.as_ref().is_some_and(|key| keys.contains(key))
            || moved_from.is_some_and(|key| keys.contains(key));
        if held {
            self.hold(change);
        }
        held
    }

    /// What is to be written down of a change; of most nothing is.
    pub(crate) fn sift<'a>(&mut self, change: &'a Change) -> Option<Aside<'a>> {
        let table = &change.plan.relation.table;
        match &change.action {
            Action::Unreadable(_) => {
                self.hold(change);
                Some(Aside::Unreadable(change))
            }
            Action::Truncate => self.0.remove(table).map(|_| Aside::Closes(change)),
            Action::Insert(_) | Action::Update { .. } | Action::Delete(_) => {
                self.takes(change).then_some(Aside::Follows(change))
            }
        }
    }
}

impl Aside<'_> {
    /// Whether the change is applied all the same.
    pub(crate) fn is_applied(&self) -> bool {
        match self {
            Self::Closes(_) => true,
            Self::Unreadable(_) | Self::Follows(_) => false,
        }
    }
}

impl<'a> Sifted<'a> {
    /// Goes through changes in commit order; `held` is what is held then.
    pub(crate) fn new(changes: impl Iterator<Item = &'a Change>, held: &mut HeldKeys) -> Self {
        let mut sifted = Self::default();
        for change in changes {
            let aside = held.sift(change);
            if aside.is_none_or(|aside| aside.is_applied()) {
                sifted.admitted.push(change);
            }
            sifted.aside.extend(aside);
        }
        sifted
    }
}
