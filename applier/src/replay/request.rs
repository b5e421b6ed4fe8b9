//! What a replay is asked to do.

use std::fmt;

use change::commit::CommitRecord;
use change::{Lsn, TableName};

/// A replay as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub begin: Begin,
    /// Changes up to here, inclusive; `None`: up to where the target is.
    pub to: Option<Lsn>,
    /// None named: all.
    pub tables: Vec<TableName>,
    pub into: Destination,
}

/// The first change that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// The first that is still there.
    Earliest,
    /// Those that committed there or later.
    Lsn(Lsn),
    /// Microseconds since 1970-01-01 UTC, by the source's clock.
    Time(i64),
    /// Those of this record of the commits topic, and of later ones.
    Offset(i64),
    /// Where an earlier run stopped: at this record, of which it had read what committed up to
    /// `done`.
    Resumed { next: i64, from: Lsn, done: Lsn },
}

/// Where the rows go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Into the tables that the stream is applied to.
    Live,
    /// Into tables of their own in this schema.
    Schema(String),
}

/// Who wants it, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    pub who: String,
    pub reason: Option<String>,
}

/// A record of the commits topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub offset: i64,
    /// What is in it committed after this.
    pub after: Lsn,
    /// The LSN to name it by: no smaller one that is later than `after` has anything.
    pub first: Lsn,
    /// What is in it committed up to here.
    pub lsn: Lsn,
    /// When the first of it committed: microseconds since 1970-01-01 UTC, by the source's clock.
    pub commit_time: i64,
}

impl Place {
    pub(super) fn of(record: &CommitRecord, offset: i64) -> Self {
        let after = record.previous_commit_lsn;
        Self {
            offset,
            after,
            first: match record.transactions.first() {
                Some(first) => first.commit_lsn,
                None if after == Lsn::ZERO => record.commit_lsn,
                None => Lsn::new(after.as_u64() + 1),
            },
            lsn: record.commit_lsn,
            commit_time: match record.transactions.first() {
                Some(first) => first.commit_time,
                None => record.commit_time,
            },
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lsn, offset) = (self.first, self.offset);
        write!(f, "{lsn} (offset {offset} of the commits topic)")
    }
}
