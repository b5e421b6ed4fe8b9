//! Changes from the topics, up to a place that the caller moves on.

use std::collections::HashSet;

use change::Lsn;
use change::commit::CommitRecord;
use service::Health;

use super::survey::Start;
use crate::batch::Change;
use crate::config::Config;
use crate::consume::{Admission, Covered, Item, Reading, admit, commit_record};
use crate::decode::Action;
use crate::error::Error;
use crate::kafka::CommitsConsumer;
use crate::metrics::Metrics;
use crate::progress::{Mark, Progress};

pub(super) struct Source {
    commits: CommitsConsumer,
    covered: Covered,
    /// `None`: all.
    topics: Option<HashSet<String>>,
    /// Where a target would be that has applied all records that were read whole.
    last: Option<Mark>,
    /// Offset of the record that is read next, or in part.
    next: i64,
    /// Changes that committed before it are not wanted.
    from: Lsn,
    /// Changes of a record that began before it and that committed up to it were read.
    done: Lsn,
    open: Option<Open>,
    rows: usize,
    bytes: usize,
}

/// A commits record that is being read.
struct Open {
    record: CommitRecord,
    reading: Reading,
    /// What of it was read before.
    done: Option<Lsn>,
    /// A change that is behind the limit.
    ahead: Option<Change>,
}

/// How far is read: of the commits records up to `offset`, what committed up to `lsn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) offset: i64,
    pub(super) lsn: Lsn,
}

/// Changes in commit order that are written at once.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) changes: Vec<Change>,
    pub(super) bytes: usize,
    /// Where reading goes on after it; `None` in the middle of a commits record.
    pub(super) end: Option<Reached>,
}

/// Everything in commits records before `next` is read, and of that one what committed up to `done`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) next: i64,
    pub(super) done: Lsn,
}

impl Limit {
    /// Where the target is.
    pub(super) fn of(progress: &Progress) -> Self {
        let inside = progress.mark().inside().is_some();
        Self {
            offset: progress.commits_offset + i64::from(inside),
            lsn: progress.commit_lsn,
        }
    }
}

impl Source {
    /// # Errors
    /// When the topics cannot be read from there on.
    pub(super) async fn open(
        config: &Config,
        metrics: &Metrics,
        health: &Health,
        topics: Option<HashSet<String>>,
        start: &Start,
    ) -> Result<Self, Error> {
        let size = |setting| usize::try_from(setting).unwrap_or(usize::MAX);
        Ok(Self {
            commits: CommitsConsumer::open(config, Some(start.offset), metrics, health).await?,
            covered: Covered::new(config, metrics, health)?,
            topics,
            last: start.last.clone(),
            next: start.offset,
            from: start.from,
            done: start.done,
            open: None,
            rows: size(config.batch_rows),
            bytes: size(config.batch_megabytes).saturating_mul(1 << 20),
        })
    }

    /// Commits records between where reading is and `limit`.
    pub(super) fn distance(&self, limit: Limit) -> i64 {
        limit.offset + 1 - self.next
    }

    /// The next changes up to `limit`; `None` when it is reached.
    ///
    /// # Errors
    /// When the topics cannot be read.
    pub(super) async fn next(&mut self, limit: Limit) -> Result<Option<Batch>, Error> {
        let mut batch = Batch::default();
        let before = self.next;
        // The transaction of a record that was too large for one batch ends with it: the batch that
        // begins after it might end in the middle of another such record, and so on.
        let mut carried = self.open.is_some();
        while batch.changes.len() < self.rows && batch.bytes < self.bytes {
            let mut open = match self.open.take() {
                Some(open) => open,
                None if self.next > limit.offset => break,
                None => match self.begin().await? {
                    Some(open) => open,
                    None => continue,
                },
            };
            let more = self.fill(&mut open, limit, &mut batch).await?;
            match more {
                More::Nothing => {
                    self.next += 1;
                    self.done = open.record.commit_lsn;
                }
                More::BehindTheLimit | More::Rows => self.open = Some(open),
            }
            if more == More::Nothing && std::mem::take(&mut carried) {
                break;
            }
            if more == More::BehindTheLimit {
                batch.end = Some(Reached {
                    next: self.next,
                    done: limit.lsn,
                });
                break;
            }
        }
        if self.open.is_none() {
            batch.end = Some(Reached {
                next: self.next,
                done: self.done,
            });
        }
        let moved = !batch.changes.is_empty() || self.next > before;
        Ok(moved.then_some(batch))
    }

    /// Begins with the next commits record; `None` when that covers nothing that is wanted.
    async fn begin(&mut self) -> Result<Option<Open>, Error> {
        let (offset, value) = self.commits.next().await?;
        let mut record = commit_record(self.commits.topic(), offset, &value)?;
        self.next = offset;
        let admission = admit(self.last.as_ref().map(|mark| &mark.link), &record)?;
        let phase = self.last.as_ref().map(|mark| mark.phase);
        match (admission, &mut self.last) {
            (Admission::Ignore, Some(_)) => {
                self.next += 1;
                return Ok(None);
            }
            (Admission::Fence, Some(last)) => {
                last.link.epoch = record.epoch;
                self.next += 1;
                return Ok(None);
            }
            (Admission::Ignore | Admission::Fence | Admission::Apply, _) => {
                self.last = Some(Mark::after(&record, offset, phase));
            }
        }
        if let Some(topics) = &self.topics {
            record
                .partitions
                .retain(|range| topics.contains(&range.topic));
        }
        let reading = self.covered.begin(&mut record).await?;
        Ok(Some(Open {
            done: (record.previous_commit_lsn < self.done).then_some(self.done),
            record,
            reading,
            ahead: None,
        }))
    }

    /// Moves changes of the record to the batch.
    async fn fill(
        &mut self,
        open: &mut Open,
        limit: Limit,
        batch: &mut Batch,
    ) -> Result<More, Error> {
        loop {
            let next = match open.ahead.take() {
                Some(change) => Some(change),
                None => match self.covered.next(&mut open.reading, &open.record).await? {
                    Some(Item::Row(change)) => Some(change),
                    // Rows are read as each was written; where they go has its own shape.
                    Some(Item::Schema(..)) => continue,
                    None => None,
                },
            };
            let Some(change) = next else {
                return Ok(More::Nothing);
            };
            if change.position.commit_lsn > limit.lsn {
                open.ahead = Some(change);
                return Ok(More::BehindTheLimit);
            }
            let lsn = change.position.commit_lsn;
            if lsn < self.from || open.done.is_some_and(|done| lsn <= done) {
                continue;
            }
            let full = batch.changes.len() >= self.rows || batch.bytes >= self.bytes;
            // Tables that one statement truncates may refer to each other.
            let truncates = |change: &Change| change.action == Action::Truncate;
            let in_truncate = truncates(&change) && batch.changes.last().is_some_and(truncates);
            if full && !in_truncate {
                open.ahead = Some(change);
                return Ok(More::Rows);
            }
            batch.bytes += change.bytes();
            batch.changes.push(change);
        }
    }
}

/// What a commits record still has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum More {
    Nothing,
    BehindTheLimit,
    Rows,
}
