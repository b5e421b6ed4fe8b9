//! Which changes are applied, and which are set aside because an earlier one of their key was.
//!
//! Does no I/O.

use std::collections::{HashMap, HashSet};

use change::TableName;

use super::Change;
use crate::decode::{Action, Row};

/// Keys of rows whose changes are set aside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeldKeys(HashMap<TableName, HashSet<Row>>);

/// A portion's changes by what becomes of them, each kind in commit order.
#[derive(Debug, Default)]
pub(crate) struct Sifted<'a> {
    pub(crate) admitted: Vec<&'a Change>,
    pub(crate) aside: Vec<Aside<'a>>,
}

/// What is written down instead of being applied.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aside<'a> {
    /// An earlier change of its key was set aside.
    Follows(&'a Change),
    /// Truncates its table: what was set aside of it does not matter any more.
    Closes(&'a Change),
}

impl HeldKeys {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a key of `table` is held.
    pub(crate) fn any_of(&self, table: &TableName) -> bool {
        self.0.contains_key(table)
    }

    /// Holds a key of a table.
    pub(crate) fn insert(&mut self, table: &TableName, key: Row) {
        match self.0.get_mut(table) {
            Some(keys) => _ = keys.insert(key),
            None => _ = self.0.insert(table.clone(), HashSet::from([key])),
        }
    }

    /// Holds the keys that `change` touches.
    pub(crate) fn hold(&mut self, change: &Change) {
        let table = &change.plan.relation.table;
        let (key, moved_from) = change.keys();
        for key in key.into_iter().chain(moved_from.cloned()) {
            self.insert(table, key);
        }
    }

    /// Whether `change` touches a held key. If so, whatever else it touches is held from now on: a row
    /// that moves takes its history along.
    pub(crate) fn takes(&mut self, change: &Change) -> bool {
        let Some(keys) = self.0.get(&change.plan.relation.table) else {
            return false;
        };
        let (key, moved_from) = change.keys();
        let held = key.as_ref().is_some_and(|key| keys.contains(key))
            || moved_from.is_some_and(|key| keys.contains(key));
        if held {
            self.hold(change);
        }
        held
    }

    /// Lets go of a table's keys; false when none was held.
    pub(crate) fn free(&mut self, table: &TableName) -> bool {
        self.0.remove(table).is_some()
    }
}

impl<'a> Sifted<'a> {
    /// Goes through changes in commit order; `held` is what is held then.
    pub(crate) fn new(changes: impl Iterator<Item = &'a Change>, held: &mut HeldKeys) -> Self {
        if held.is_empty() {
            return Self {
                admitted: changes.collect(),
                aside: Vec::new(),
            };
        }
        let mut sifted = Self::default();
        for change in changes {
            if change.action == Action::Truncate {
                if held.free(&change.plan.relation.table) {
                    sifted.aside.push(Aside::Closes(change));
                }
                sifted.admitted.push(change);
            } else if held.takes(change) {
                sifted.aside.push(Aside::Follows(change));
            } else {
                sifted.admitted.push(change);
            }
        }
        sifted
    }
}
