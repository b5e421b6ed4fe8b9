//! The commits topic as an index: which commits record an LSN is in, and which records count.

use std::borrow::Cow;
use std::collections::BTreeSet;

use anyhow::Context;
use change::commit::CommitRecord;
use change::envelope::Head;
use change::{Lsn, framing};
use serde::{Deserialize, Serialize};

use crate::kafka::{Log, PartitionName, Piece};

/// Whether a record of a table's topic is part of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "standing", rename_all = "lowercase")]
pub enum Standing {
    /// The commits record at this offset covers it.
    Counts {
        commits_offset: i64,
    },
    /// No commits record covers it, nor ever will: apply passes over it.
    Orphan {
        why: Cow<'static, str>,
    },
    /// It is the living writer's, and its commits record is still to come.
    Pending,
    Unknown {
        why: Cow<'static, str>,
    },
}

/// The commits topic while one question is answered.
pub(super) struct Index<'l> {
    log: &'l Log,
    name: PartitionName,
    first_offset: i64,
    end_offset: i64,
    /// The last piece that was read, in the order of its offsets.
    piece: Vec<Entry>,
    /// Every offset in here was read into `piece`.
    read: std::ops::Range<i64>,
}

#[derive(Clone)]
pub(super) struct Entry {
    pub(super) offset: i64,
    pub(super) record: CommitRecord,
}

/// Records of the commits topic that are read at once where many follow.
const PIECE: i64 = 500;
const PIECE_BYTES: usize = 8 << 20;
/// Where a writer took over from a dead one, the LSNs of a few records go back.
const DISORDER: i64 = 16;
/// Commits records that are looked at for one page: all chunks of a snapshot have one LSN.
const LOOKED_AT_MAX: usize = 10_000;

impl<'l> Index<'l> {
    pub(super) async fn open(log: &'l Log, commits: &str) -> anyhow::Result<Self> {
        let name = PartitionName {
            topic: commits.to_owned(),
            partition: 0,
        };
        let reach = log.reach(std::slice::from_ref(&name)).await?;
        let reach = reach.get(&name).copied();
        Ok(Self {
            log,
            name,
            first_offset: reach.map_or(0, |it| it.first_offset),
            end_offset: reach.map_or(0, |it| it.end_offset),
            piece: Vec::new(),
            read: 0..0,
        })
    }

    /// The first record of a living writer that holds transactions at or after `lsn`.
    pub(super) async fn find(&mut self, lsn: Lsn) -> anyhow::Result<Option<Entry>> {
        let mut scan = Scan::new(self.near(lsn).await?);
        while let Some(entry) = self.next(&mut scan).await? {
            if scan.admits(&entry) && entry.record.commit_lsn >= lsn && !is_fence(&entry.record) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Where each of these records of a topic stands; `None` is a tombstone.
    pub(super) async fn judge(
        &mut self,
        topic: &str,
        records: &[(i32, i64, Option<Head>)],
    ) -> anyhow::Result<Vec<Standing>> {
        let heads = records.iter().filter_map(|(_, _, head)| *head);
        let lsns: BTreeSet<Lsn> = heads.map(|head| head.position.commit_lsn).collect();
        let mut found = Covers::default();
        let mut looked_at = 0;
        let mut unseen = None;
        for lsn in lsns {
            if found.seen_up_to.is_some_and(|seen| lsn <= seen) {
                continue;
            }
            if looked_at >= LOOKED_AT_MAX || self.log.is_over() {
                unseen = unseen.or(Some(lsn));
                continue;
            }
            let mut scan = Scan::new(self.near(lsn).await?);
            let mut behind = 0;
            while let Some(entry) = self.next(&mut scan).await? {
                looked_at += 1;
                if scan.admits(&entry) {
                    found.take(topic, &entry);
                }
                behind += i64::from(entry.record.commit_lsn > lsn);
                if behind > DISORDER {
                    break;
                }
                if looked_at >= LOOKED_AT_MAX {
                    unseen = Some(lsn);
                    break;
                }
            }
            found.seen_up_to = Some(lsn);
        }
        let ends = (self.at(self.first_offset).await?, self.last().await?);
        let judged = records.iter().map(|(partition, offset, head)| match head {
            None => Standing::Orphan {
                why: "a tombstone is for compaction, it is no change".into(),
            },
            Some(head) => found.judge(*partition, *offset, head, &ends, unseen),
        });
        Ok(judged.collect())
    }

    /// An offset a little before the first record whose LSN is at or after `lsn`.
    async fn near(&mut self, lsn: Lsn) -> anyhow::Result<i64> {
        let (mut low, mut high) = (self.first_offset, self.end_offset);
        while high - low > PIECE {
            let middle = low + (high - low) / 2;
            match self.at(middle).await? {
                Some(entry) if entry.record.commit_lsn < lsn => low = entry.offset + 1,
                Some(_) | None => high = middle,
            }
        }
        let mut from = low;
        while let Some(entry) = self.in_piece(from, high).await? {
            if entry.record.commit_lsn >= lsn {
                break;
            }
            from = entry.offset + 1;
        }
        Ok((from - DISORDER).max(self.first_offset))
    }

    pub(super) async fn last(&mut self) -> anyhow::Result<Option<Entry>> {
        // A topic may end in records that nobody reads, as transactions' markers.
        let mut from = self.end_offset - 1;
        while from >= self.first_offset {
            if let Some(entry) = self.in_piece(from, self.end_offset).await? {
                return Ok(Some(entry));
            }
            from -= DISORDER;
        }
        Ok(None)
    }

    /// The first record at or behind `offset`.
    pub(super) async fn at(&mut self, offset: i64) -> anyhow::Result<Option<Entry>> {
        if !self.read.contains(&offset) {
            self.fill(offset, self.end_offset, 1).await?;
        }
        Ok(self.known(offset))
    }

    /// The same, where those behind it are asked for next.
    pub(super) async fn from(&mut self, offset: i64) -> anyhow::Result<Option<Entry>> {
        self.in_piece(offset.max(self.first_offset), self.end_offset)
            .await
    }

    pub(super) fn end_offset(&self) -> i64 {
        self.end_offset
    }

    async fn next(&mut self, scan: &mut Scan) -> anyhow::Result<Option<Entry>> {
        let entry = self.in_piece(scan.next, self.end_offset).await?;
        if let Some(entry) = &entry {
            scan.next = entry.offset + 1;
        }
        Ok(entry)
    }

    async fn in_piece(&mut self, offset: i64, until: i64) -> anyhow::Result<Option<Entry>> {
        if offset >= until {
            return Ok(None);
        }
        if !self.read.contains(&offset) {
            self.fill(offset, self.end_offset.min(offset + PIECE), PIECE)
                .await?;
        }
        Ok(self.known(offset))
    }

    fn known(&self, offset: i64) -> Option<Entry> {
        self.piece.iter().find(|it| it.offset >= offset).cloned()
    }

    async fn fill(&mut self, from: i64, until: i64, records: i64) -> anyhow::Result<()> {
        let records_max = usize::try_from(records).unwrap_or(1);
        let piece = Piece {
            from,
            until,
            records_max,
            bytes_max: PIECE_BYTES,
        };
        let stretch = self.log.read(self.name.clone(), piece).await?;
        self.piece.clear();
        for record in stretch.records {
            let value = record.value.context("a commits record is empty")?;
            let (_, datum) = framing::split(&value).context("read a commits record")?;
            self.piece.push(Entry {
                offset: record.offset,
                record: CommitRecord::decode(datum)?,
            });
        }
        self.read = from..stretch.end_offset;
        Ok(())
    }
}

/// Going forward through the commits topic.
struct Scan {
    next: i64,
    /// The highest that was met.
    epoch: i64,
}

impl Scan {
    fn new(next: i64) -> Self {
        Self {
            next,
            epoch: i64::MIN,
        }
    }

    /// Whether the record is a living writer's, as apply decides it.
    fn admits(&mut self, entry: &Entry) -> bool {
        let alive = entry.record.epoch >= self.epoch;
        self.epoch = self.epoch.max(entry.record.epoch);
        alive
    }
}

fn is_fence(record: &CommitRecord) -> bool {
    record.commit_lsn == record.previous_commit_lsn && record.partitions.is_empty()
}

/// The ranges of one topic that commits records cover.
#[derive(Default)]
struct Covers {
    ranges: Vec<Cover>,
    seen_up_to: Option<Lsn>,
}

struct Cover {
    commits_offset: i64,
    epoch: i64,
    lsns: (Lsn, Lsn),
    partition: i32,
    offsets: std::ops::Range<i64>,
}

impl Cover {
    /// All records of a snapshot have one LSN, so there the two ends are the same.
    fn holds(&self, lsn: Lsn) -> bool {
        let (previous, last) = self.lsns;
        lsn <= last && (previous < lsn || previous == last)
    }
}

impl Covers {
    fn take(&mut self, topic: &str, entry: &Entry) {
        let record = &entry.record;
        for range in record.partitions.iter().filter(|it| it.topic == topic) {
            self.ranges.push(Cover {
                commits_offset: entry.offset,
                epoch: record.epoch,
                lsns: (record.previous_commit_lsn, record.commit_lsn),
                partition: range.partition,
                offsets: range.first_offset..range.end_offset,
            });
        }
    }

    fn judge(
        &self,
        partition: i32,
        offset: i64,
        head: &Head,
        (first, last): &(Option<Entry>, Option<Entry>),
        unseen: Option<Lsn>,
    ) -> Standing {
        let lsn = head.position.commit_lsn;
        let cover = self.ranges.iter().find(|cover| {
            cover.partition == partition
                && cover.offsets.contains(&offset)
                && cover.epoch == head.epoch
                && cover.holds(lsn)
        });
        if let Some(cover) = cover {
            return Standing::Counts {
                commits_offset: cover.commits_offset,
            };
        }
        if unseen.is_some_and(|unseen| lsn >= unseen) {
            return Standing::Unknown {
                why: "too many commits records to look at for one page".into(),
            };
        }
        let Some(last) = last else {
            return Standing::Pending;
        };
        if head.epoch >= last.record.epoch && lsn >= last.record.commit_lsn {
            return Standing::Pending;
        }
        let passed = first.as_ref().map(|it| it.record.previous_commit_lsn);
        if passed.is_some_and(|passed| passed > Lsn::ZERO && lsn <= passed) {
            return Standing::Unknown {
                why: "retention has passed the commits records of its time".into(),
            };
        }
        Standing::Orphan {
            why: "no commits record covers it: a writer died before its batch was complete".into(),
        }
    }
}
