//! The stream's side of reading a table once more.

use change::Lsn;
use tokio::sync::oneshot;

use super::chunk::{Chunk, Desk, Outcome, Repeat};
use super::owed::Owed;
use super::watermark::{Doubt, Token};
use super::window::Window;
use crate::control::{Hidden, Visibility};
use crate::encode::Step;
use crate::wire::{Oid, Xid};

/// What is remembered between messages of the stream.
pub(crate) struct Resnapshot {
    epoch: i64,
    desk: Desk,
    hidden: Hidden,
    window: Option<Window>,
    owed: Option<Owed>,
    settling: Option<Settling>,
}

/// A chunk whose rows are sent and do not count yet.
struct Settling {
    commit_lsn: Lsn,
    word: Outcome,
    outcome: oneshot::Sender<Outcome>,
}

impl Resnapshot {
    /// `hidden` is what the capture before this one may have brought and readers do not see.
    pub(crate) fn new(epoch: i64, desk: Desk, hidden: Hidden) -> Self {
        Self {
            epoch,
            desk,
            hidden,
            window: None,
            owed: None,
            settling: None,
        }
    }

    /// The stream brings the changes of a transaction.
    pub(crate) fn begun(&mut self, xid: Xid) {
        self.hidden.committed(xid);
        if let Some(window) = &mut self.window {
            window.begun(xid);
        }
    }

    /// Readers see this by now.
    pub(crate) fn shown(&mut self, visibility: &Visibility) {
        self.hidden.shown(visibility);
    }

    /// The stream brings a change.
    pub(crate) fn touch(&mut self, table: Oid, key: Option<&[u8]>, step: &Step<'_>) {
        if let Some(window) = &mut self.window {
            window.touch(table, key, step);
        }
    }

    /// Whether [`Self::moved`] is to be told of a table's rows.
    pub(crate) fn heeds_moves(&self, table: Oid) -> bool {
        self.owed.as_ref().is_some_and(|owed| owed.is_about(table))
    }

    /// The stream brings a row from one key, to another if it is one, and not all of it.
    pub(crate) fn moved(&mut self, from: &[u8], to: &[u8]) {
        if let Some(owed) = &mut self.owed {
            owed.moved(from, to);
        }
    }

    /// Whether rows came to be owed in the pass that a chunk is of; with its last one another begins,
    /// if so.
    pub(crate) fn owes(&mut self, is_last: bool) -> bool {
        let grew = self.owed.as_ref().is_some_and(Owed::grew);
        match &mut self.owed {
            Some(owed) if is_last && grew => owed.next_pass(),
            owed if is_last => *owed = None,
            _ => {}
        }
        grew
    }

    /// The stream brings another description of a table.
    pub(crate) fn altered(&mut self, table: Oid) {
        if let Some(window) = &mut self.window {
            window.altered(table);
        }
    }

    /// A chunk is read from here on.
    pub(crate) fn open(&mut self, token: Token, table: Oid, doubt: Doubt) {
        if token.epoch != self.epoch {
            return;
        }
        self.window = Some(Window::new(token, table, self.hidden.clone()));
        match &mut self.owed {
            Some(owed) if owed.is_of(token.request, table) => owed.doubt(doubt),
            owed => *owed = Some(Owed::new(token.request, table, doubt)),
        }
    }

    /// A chunk was read: the chunk, and what changed meanwhile; none for that of a reader that is gone.
    pub(crate) fn close(&mut self, token: Token) -> Option<(Window, Chunk)> {
        let window = self.window.take_if(|window| window.token() == token)?;
        Some((window, self.desk.take(token)?))
    }

    /// The rows of a chunk are sent; they count with everything up to `commit_lsn`, and `word` is told
    /// then.
    pub(crate) fn sent(
        &mut self,
        commit_lsn: Lsn,
        word: Outcome,
        outcome: oneshot::Sender<Outcome>,
    ) {
        self.settling = Some(Settling {
            commit_lsn,
            word,
            outcome,
        });
    }

    /// Everything before `end_lsn` counts.
    pub(crate) fn published(&mut self, end_lsn: Lsn) {
        let counts = |settling: &mut Settling| settling.commit_lsn < end_lsn;
        if let Some(settled) = self.settling.take_if(counts) {
            answer(settled.outcome, settled.word);
        }
    }
}

/// Tells that there is nothing to wait for.
pub(crate) fn answer(outcome: oneshot::Sender<Outcome>, word: Outcome) {
    if outcome.send(word).is_err() {
        tracing::debug!("the reader of a chunk is gone");
    }
}

impl From<Repeat> for Outcome {
    fn from(why: Repeat) -> Self {
        Self::Repeat(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Oid = 7;
    const TOKEN: Token = Token {
        epoch: 1,
        request: 1,
        reading: 1,
    };

    #[test]
    fn what_a_pass_leaves_owed_is_known_to_the_next() {
        let mut resnapshot = Resnapshot::new(1, Desk::default(), Hidden::default());
        assert!(!resnapshot.heeds_moves(TABLE));
        resnapshot.open(TOKEN, TABLE, Doubt::AllRows);
        resnapshot.moved(b"a", b"b");
        assert!(resnapshot.owes(false));
        // Not since the chunk before, but in the pass.
        assert!(resnapshot.owes(true));
        resnapshot.open(TOKEN, TABLE, Doubt::KnownRows);
        resnapshot.moved(b"c", b"d");
        assert!(!resnapshot.owes(false));
        resnapshot.moved(b"b", b"e");
        assert!(resnapshot.owes(true));
        resnapshot.open(TOKEN, TABLE, Doubt::KnownRows);
        assert!(!resnapshot.owes(true));
        assert!(!resnapshot.heeds_moves(TABLE));
    }

    #[test]
    fn of_another_request_nothing_is_known() {
        let mut resnapshot = Resnapshot::new(1, Desk::default(), Hidden::default());
        resnapshot.open(TOKEN, TABLE, Doubt::AllRows);
        resnapshot.moved(b"a", b"b");
        let next = Token {
            request: 2,
            ..TOKEN
        };
        resnapshot.open(next, TABLE, Doubt::KnownRows);
        resnapshot.moved(b"b", b"c");
        assert!(!resnapshot.owes(true));
    }
}
