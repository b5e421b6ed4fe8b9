//! The committed transaction whose changes are arriving.

use std::collections::HashMap;

use change::commit::Transaction;
use change::{Lsn, Position};

use crate::encode::{Meta, Order, Origin};
use crate::wire::{Oid, PgTimestamp, Xid};

/// Whether a transaction is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Novelty {
    New,
    /// It counts in the topics already: after a restart the slot sends again what was not confirmed.
    Repeated,
}

/// A committed transaction that is open in the stream.
#[derive(Debug)]
pub(crate) struct OpenTransaction {
    /// None for a message that is of no transaction.
    xid: Option<Xid>,
    commit_lsn: Lsn,
    commit_time: i64,
    novelty: Novelty,
    now_ms: i64,
    records: u64,
    counts: Counts,
}

/// How many records there were of each collection.
#[derive(Debug, Default)]
struct Counts {
    /// Of the collection that was counted last, as many of one follow each other.
    last: Option<(Collection, u64)>,
    others: HashMap<Collection, u64>,
}

impl Counts {
    /// Counts one more, and answers how many there are now.
    fn count(&mut self, collection: Collection) -> u64 {
        let before = match self.last.take() {
            Some((last, count)) if last == collection => count,
            last => {
                self.others.extend(last);
                self.others.remove(&collection).unwrap_or_default()
            }
        };
        self.last = Some((collection, before + 1));
        before + 1
    }
}

/// What Debezium counts the changes of a transaction by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Collection {
    Table(Oid),
    SchemaChanges,
    Messages,
}

impl OpenTransaction {
    /// `published` is the `commit_lsn` up to which everything counts already; `now_ms` our clock.
    pub(crate) fn new(
        xid: Option<Xid>,
        commit_lsn: Lsn,
        commit_time: PgTimestamp,
        published: Lsn,
        now_ms: i64,
    ) -> Self {
        Self {
            xid,
            commit_lsn,
            commit_time: commit_time.unix_micros(),
            novelty: if commit_lsn <= published {
                Novelty::Repeated
            } else {
                Novelty::New
            },
            now_ms,
            records: 0,
            counts: Counts::default(),
        }
    }

    pub(crate) fn novelty(&self) -> Novelty {
        self.novelty
    }

    pub(crate) fn commit_lsn(&self) -> Lsn {
        self.commit_lsn
    }

    /// Microseconds since 1970-01-01 UTC, by the source's clock.
    pub(crate) fn commit_time(&self) -> i64 {
        self.commit_time
    }

    pub(crate) fn commit_time_ms(&self) -> i64 {
        self.commit_time.div_euclid(1000)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// What the next record says of itself.
    pub(crate) fn next_record(&mut self, epoch: i64, collection: Collection) -> Meta {
        let position = Position {
            commit_lsn: self.commit_lsn,
            ordinal: self.records,
        };
        self.records += 1;
        let order = Order {
            total: self.records,
            in_collection: self.counts.count(collection),
        };
        Meta {
            epoch,
            position,
            commit_time: self.commit_time,
            now_ms: self.now_ms,
            origin: match self.xid {
                Some(xid) => Origin::Transaction { xid: xid.0, order },
                None => Origin::Alone,
            },
        }
    }

    /// The record that was begun last takes so many places more.
    pub(crate) fn prolong(&mut self, places: u64) {
        self.records += places;
    }

    /// The transaction as its commits record tells it.
    pub(crate) fn summary(&self) -> Transaction {
        Transaction {
            xid: self.xid.map_or(0, |xid| xid.0),
            commit_lsn: self.commit_lsn,
            commit_time: self.commit_time,
            changes: self.records,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_collection_is_counted_by_itself() {
        let mut counts = Counts::default();
        let (a, b) = (Collection::Table(1), Collection::Table(2));
        let counted = [a, a, b, a, Collection::Messages, b, b].map(|it| counts.count(it));
        assert_eq!(counted, [1, 2, 1, 3, 1, 2, 3]);
    }
}
