//! Rows that changed their key while their table is read once more.
//!
//! The log has nothing of a large value that a change did not touch. So where a row of which the topics
//! may have nothing comes to a key that nobody reads any more, its large values are owed: another pass
//! reads the rows that were written since the first began. Whatever that one does not find owed any
//! more is whole, and so its passes end.

use std::collections::HashSet;

use change::envelope::Op;

use super::watermark::Doubt;
use super::{ENTRY_BYTES, KEPT_BYTES_MAX};
use crate::encode::Step;
use crate::wire::{Column, Oid};

/// What is owed of the table that is read.
#[derive(Debug)]
pub(super) struct Owed {
    request: i64,
    table: Oid,
    doubt: Doubt,
    /// None: more than are kept in mind.
    keys: Option<HashSet<Vec<u8>>>,
    bytes: usize,
    /// In this pass.
    grew: bool,
}

impl Owed {
    pub(super) fn new(request: i64, table: Oid, doubt: Doubt) -> Self {
        Self {
            request,
            table,
            doubt,
            keys: Some(HashSet::new()),
            bytes: 0,
            grew: false,
        }
    }

    pub(super) fn is_of(&self, request: i64, table: Oid) -> bool {
        (self.request, self.table) == (request, table)
    }

    pub(super) fn is_about(&self, table: Oid) -> bool {
        self.table == table
    }

    /// Another chunk is read.
    pub(super) fn doubt(&mut self, doubt: Doubt) {
        self.doubt = doubt;
    }

    /// A row came from one key, to another if it is one, and not all of it.
    pub(super) fn moved(&mut self, from: &[u8], to: &[u8]) {
        if from == to {
            return;
        }
        let known = self.keys.as_ref().is_none_or(|keys| keys.contains(from));
        if self.doubt == Doubt::KnownRows && !known {
            return;
        }
        self.grew = true;
        let Some(keys) = &mut self.keys else {
            return;
        };
        if keys.insert(to.to_vec()) {
            self.bytes += to.len() + ENTRY_BYTES;
        }
        if self.bytes > KEPT_BYTES_MAX {
            self.keys = None;
        }
    }

    /// Whether the pass that is in progress leaves rows that are owed to another.
    pub(super) fn grew(&self) -> bool {
        self.grew
    }

    /// Another pass begins.
    pub(super) fn next_pass(&mut self) {
        self.grew = false;
    }
}

/// The row before a change that did not bring all values, and may have brought another key.
pub(crate) fn left_behind<'s, 'a>(step: &'s Step<'a>) -> Option<&'s [Column<'a>]> {
    let after = step.after.as_ref().filter(|_| step.op == Op::Update)?;
    let is_part = after.contains(&Column::UnchangedToast);
    step.before.as_deref().filter(|_| is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owed(doubt: Doubt) -> Owed {
        Owed::new(1, 7, doubt)
    }

    #[test]
    fn any_row_that_moves_is_owed_while_nothing_is_known() {
        let mut owed = owed(Doubt::AllRows);
        owed.moved(b"a", b"a");
        assert!(!owed.grew());
        owed.moved(b"a", b"b");
        assert!(owed.grew());
    }

    #[test]
    fn later_only_rows_that_were_owed_are() {
        let mut owed = owed(Doubt::AllRows);
        owed.moved(b"a", b"b");
        owed.next_pass();
        owed.doubt(Doubt::KnownRows);
        owed.moved(b"c", b"d");
        assert!(!owed.grew());
        owed.moved(b"b", b"e");
        assert!(owed.grew());
        owed.next_pass();
        owed.moved(b"e", b"f");
        assert!(owed.grew());
    }

    #[test]
    fn beyond_what_is_kept_in_mind_every_row_is() {
        let mut owed = owed(Doubt::AllRows);
        let mut keys = 0_u32;
        while owed.keys.is_some() {
            owed.moved(b"a", &keys.to_be_bytes());
            keys += 1;
        }
        assert!(keys > 100_000, "{keys}");
        owed.next_pass();
        owed.doubt(Doubt::KnownRows);
        owed.moved(b"unknown", b"b");
        assert!(owed.grew());
    }
}
