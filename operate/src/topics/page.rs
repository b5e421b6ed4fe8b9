//! A page of records of one topic.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::time::Duration;

use anyhow::ensure;
use change::envelope::{self, Head};
use change::topic::Topics;
use change::{Lsn, framing};
use serde::{Deserialize, Serialize};

use super::Kind;
use super::cursor::Cursor;
use super::index::{Entry, Index, Standing};
use super::merge::{Merge, Order};
use super::plans::Plans;
use super::record::{self, Record};
use crate::kafka::{Kafka, Log, PartitionName, Piece, RawRecord, Reach};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Question {
    pub topic: String,
    /// All when none is named.
    pub partitions: Vec<i32>,
    pub start: Start,
    pub direction: Direction,
    /// At most [`RECORDS_MAX`].
    pub limit: usize,
    /// Only records of this key, as its text or its values alone.
    pub key: Option<String>,
    /// Longer values are cut.
    pub value_bytes_max: usize,
    /// So are raw bytes.
    pub raw_bytes_max: usize,
}

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    Earliest,
    Latest,
    /// The same offset in each partition that is asked for.
    Offset(i64),
    /// The first record of the transaction that committed there, or of the next one.
    Lsn(Lsn),
    /// Milliseconds since 1970-01-01 UTC.
    Time(i64),
    Place(Cursor),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Forwards,
    Backwards,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct Page {
    pub topic: String,
    pub kind: Kind,
    /// Those that were asked for.
    pub partitions: Vec<Holds>,
    /// In the order of the log, whichever way they were read.
    pub records: Vec<Record>,
    /// Where to read on backwards; none at the beginning.
    pub older: Option<Cursor>,
    /// Where to read on forwards; none at the end.
    pub newer: Option<Cursor>,
    /// Records that were looked at.
    pub scanned: usize,
    /// Whether the page ended before it was full though there is more: it took too long, or was too
    /// large.
    pub cut_short: bool,
}

impl Page {
    /// For who reads `before` and `after` instead.
    #[must_use]
    pub fn without_cells(mut self) -> Self {
        for record in &mut self.records {
            record.cells.clear();
        }
        self
    }
}

/// What was asked for does not exist.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    #[error("there is no topic {0}")]
    Topic(String),
    #[error("topic {topic} has {count} partitions, and none is number {partition}")]
    Partition {
        topic: String,
        partition: i32,
        count: i32,
    },
}

/// What a partition holds.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Holds {
    pub partition: i32,
    pub first_offset: i64,
    /// One past the last record's.
    pub end_offset: i64,
}

/// Records on one page.
pub const RECORDS_MAX: usize = 100;
/// A page takes no longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Records that are looked at for one page where a key is searched for.
const SCANNED_MAX: usize = 50_000;
const PAGE_BYTES: usize = 32 << 20;
/// In all lanes together.
const WAITING_BYTES: usize = 16 << 20;
/// Records that are passed over at most, in a partition, to come to an LSN.
const PASSED_MAX: i64 = 100_000;
/// By how many records times may go back within a partition.
const TIME_DISORDER: i64 = 100;
const PIECE_RECORDS: usize = 1_000;

/// # Errors
/// When there is no such topic or partition, or a part does not answer in time.
pub async fn read(
    kafka: &Kafka,
    topics: &Topics,
    plans: &Plans,
    question: &Question,
) -> anyhow::Result<Page> {
    if !is_ours(&question.topic, topics) {
        return Err(Missing::Topic(question.topic.clone()).into());
    }
    let log = kafka.log(PATIENCE)?;
    let kind = Kind::of(&question.topic, topics);
    let reaches = reaches(&log, question).await?;
    let mut index = Index::open(&log, &topics.commits()).await?;
    let start = start(&log, &mut index, question, &kind, &reaches).await?;
    let direction = match question.start {
        Start::Latest => Direction::Backwards,
        _ => question.direction,
    };
    let mut merge = Merge::new(direction, &start, &reaches);
    let start = merge.place();
    let mut taken = take(&log, &mut merge, question, &kind, plans, direction).await?;
    let mut ends = (start, merge.place());
    if direction == Direction::Backwards {
        taken.records.reverse();
        ends = (ends.1, ends.0);
    }
    let (older, newer) = (merge.around(&ends.0).0, merge.around(&ends.1).1);
    let standings = match kind {
        Kind::Table(_) | Kind::SchemaChanges | Kind::Messages => {
            judge(&mut index, question, &taken.records).await?
        }
        Kind::Commits | Kind::Other => vec![None; taken.records.len()],
    };
    let mut records = Vec::with_capacity(taken.records.len());
    for (raw, standing) in taken.records.iter().zip(standings) {
        records.push(record::describe(raw, standing, &kind, plans, question).await);
    }
    let holds = |(partition, reach): (&i32, &Reach)| Holds {
        partition: *partition,
        first_offset: reach.first_offset,
        end_offset: reach.end_offset,
    };
    Ok(Page {
        topic: question.topic.clone(),
        kind,
        partitions: reaches.iter().map(holds).collect(),
        records,
        older: older.then_some(ends.0),
        newer: newer.then_some(ends.1),
        scanned: taken.scanned,
        cut_short: taken.cut_short,
    })
}

/// Other topics of the cluster are nobody's business here, and what Kafka would not take for a name
/// is none.
fn is_ours(topic: &str, topics: &Topics) -> bool {
    let own = topic.strip_prefix(topics.prefix());
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    own.is_some_and(|rest| rest.starts_with('.')) && topic.bytes().all(legal)
}

async fn reaches(log: &Log, question: &Question) -> anyhow::Result<BTreeMap<i32, Reach>> {
    let topic = &question.topic;
    let count = log.partitions(topic).await?;
    if count == 0 {
        return Err(Missing::Topic(topic.clone()).into());
    }
    let mut partitions: Vec<i32> = (0..count).collect();
    if !question.partitions.is_empty() {
        for partition in &question.partitions {
            if !partitions.contains(partition) {
                return Err(Missing::Partition {
                    topic: topic.clone(),
                    partition: *partition,
                    count,
                }
                .into());
            }
        }
        partitions.retain(|partition| question.partitions.contains(partition));
    }
    let names: Vec<PartitionName> = partitions.iter().map(|it| name(topic, *it)).collect();
    let reach = log.reach(&names).await?;
    ensure!(
        reach.len() == names.len(),
        "not every partition of topic {topic} answers"
    );
    let reach = reach.into_iter();
    Ok(reach.map(|(name, reach)| (name.partition, reach)).collect())
}

fn name(topic: &str, partition: i32) -> PartitionName {
    PartitionName {
        topic: topic.to_owned(),
        partition,
    }
}

async fn start(
    log: &Log,
    index: &mut Index<'_>,
    question: &Question,
    kind: &Kind,
    reaches: &BTreeMap<i32, Reach>,
) -> anyhow::Result<Cursor> {
    let everywhere = |offset: &dyn Fn(&Reach) -> i64| {
        let offsets = reaches.iter();
        Cursor(offsets.map(|(at, reach)| (*at, offset(reach))).collect())
    };
    Ok(match &question.start {
        Start::Earliest => everywhere(&|reach| reach.first_offset),
        Start::Latest => everywhere(&|reach| reach.end_offset),
        Start::Offset(offset) => everywhere(&|_| *offset),
        Start::Place(place) => place.clone(),
        Start::Time(time_ms) => at_time(log, &question.topic, reaches, *time_ms).await?,
        Start::Lsn(lsn) => match (index.find(*lsn).await?, kind) {
            (None, _) => everywhere(&|reach| reach.end_offset),
            (Some(entry), Kind::Commits) => everywhere(&|_| entry.offset),
            (Some(entry), Kind::Table(_) | Kind::SchemaChanges | Kind::Messages | Kind::Other) => {
                at_transaction(log, &question.topic, reaches, *lsn, &entry).await?
            }
        },
    })
}

async fn at_time(
    log: &Log,
    topic: &str,
    reaches: &BTreeMap<i32, Reach>,
    time_ms: i64,
) -> anyhow::Result<Cursor> {
    let names: Vec<PartitionName> = reaches.keys().map(|it| name(topic, *it)).collect();
    let offsets = log.offsets_at(&names, time_ms).await?;
    let offsets: HashMap<i32, i64> = offsets
        .into_iter()
        .map(|(name, offset)| (name.partition, offset))
        .collect();
    let start =
        |(at, reach): (&i32, &Reach)| (*at, offsets.get(at).copied().unwrap_or(reach.end_offset));
    Ok(Cursor(reaches.iter().map(start).collect()))
}

/// The first records at or behind `lsn`, which `entry` covers. All records of a transaction are in
/// the ranges of one commits record; in partitions that it does not name, what comes next is found
/// by the transaction's time, and only what follows depends on that.
async fn at_transaction(
    log: &Log,
    topic: &str,
    reaches: &BTreeMap<i32, Reach>,
    lsn: Lsn,
    entry: &Entry,
) -> anyhow::Result<Cursor> {
    let record = &entry.record;
    let transaction = record.transactions.iter().find(|it| it.commit_lsn >= lsn);
    let time = transaction.map_or(record.commit_time, |it| it.commit_time);
    let by_time = at_time(log, topic, reaches, time.div_euclid(1000)).await?;
    let mut offsets = BTreeMap::new();
    for (partition, reach) in reaches {
        let mut ranges = record.partitions.iter();
        let range = ranges.find(|it| it.topic == topic && it.partition == *partition);
        let (from, epoch) = match range {
            Some(range) => (range.first_offset, Some(record.epoch)),
            None => (by_time.0[partition] - TIME_DISORDER, None),
        };
        let from = from.clamp(reach.first_offset, reach.end_offset);
        let is_there = |head: &Head| {
            head.position.commit_lsn >= lsn && epoch.is_none_or(|epoch| epoch == head.epoch)
        };
        let until = reach.end_offset.min(from + PASSED_MAX);
        let offset = pass(log, name(topic, *partition), from..until, is_there).await?;
        offsets.insert(*partition, offset);
    }
    Ok(Cursor(offsets))
}

/// The offset of the first record in `offsets` that `is_there`, or their end.
async fn pass(
    log: &Log,
    name: PartitionName,
    offsets: Range<i64>,
    is_there: impl Fn(&Head) -> bool,
) -> anyhow::Result<i64> {
    let mut from = offsets.start;
    while from < offsets.end {
        let piece = Piece {
            from,
            until: offsets.end,
            records_max: PIECE_RECORDS,
            bytes_max: WAITING_BYTES,
        };
        let stretch = log.read(name.clone(), piece).await?;
        let found = stretch.records.iter();
        let mut found = found.filter(|raw| head(raw).is_some_and(|head| is_there(&head)));
        if let Some(raw) = found.next() {
            return Ok(raw.offset);
        }
        from = stretch.end_offset;
    }
    Ok(offsets.end)
}

/// `None` for a tombstone, and for what is no change record.
fn head(raw: &RawRecord) -> Option<Head> {
    let (_, datum) = framing::split(raw.value.as_deref()?).ok()?;
    envelope::head(datum).ok()
}

struct Taken {
    records: Vec<RawRecord>,
    scanned: usize,
    cut_short: bool,
}

async fn take(
    log: &Log,
    merge: &mut Merge,
    question: &Question,
    kind: &Kind,
    plans: &Plans,
    direction: Direction,
) -> anyhow::Result<Taken> {
    let limit = question.limit.clamp(1, RECORDS_MAX);
    let mut taken = Taken {
        records: Vec::new(),
        scanned: 0,
        cut_short: false,
    };
    let mut bytes = 0;
    loop {
        feed(log, merge, question, kind, direction).await?;
        let Some((_, raw)) = merge.next() else {
            return Ok(taken);
        };
        taken.scanned += 1;
        let wanted = match &question.key {
            None => true,
            Some(key) => record::has_key(&raw, key, plans).await,
        };
        if wanted {
            bytes += raw.bytes();
            taken.records.push(raw);
        }
        if taken.records.len() >= limit {
            return Ok(taken);
        }
        if taken.scanned >= SCANNED_MAX || bytes >= PAGE_BYTES || log.is_over() {
            taken.cut_short = true;
            return Ok(taken);
        }
    }
}

/// Brings records until the next one is known.
async fn feed(
    log: &Log,
    merge: &mut Merge,
    question: &Question,
    kind: &Kind,
    direction: Direction,
) -> anyhow::Result<()> {
    let records_max = match question.key {
        None => question.limit.clamp(1, RECORDS_MAX),
        Some(_) => PIECE_RECORDS,
    };
    let bytes_max = WAITING_BYTES / merge.lanes();
    let mut count = records_max;
    while let Some((partition, range)) = merge.hungry(i64::try_from(count).unwrap_or(1)) {
        let piece = Piece {
            from: range.start,
            until: range.end,
            records_max,
            bytes_max,
        };
        let stretch = log.read(name(&question.topic, partition), piece).await?;
        if direction == Direction::Backwards && stretch.end_offset < range.end && count > 1 {
            // Too large to be held as a whole, and its end is what is wanted.
            count /= 2;
            continue;
        }
        count = records_max;
        merge.feed(
            partition,
            &range,
            stretch.end_offset,
            ordered(stretch.records, kind),
        );
    }
    Ok(())
}

/// A record that tells no position stands where the one before it stands.
fn ordered(records: Vec<RawRecord>, kind: &Kind) -> Vec<(Order, RawRecord)> {
    let own = |raw: &RawRecord| match kind {
        Kind::Table(_) | Kind::SchemaChanges | Kind::Messages => {
            head(raw).map(|head| Order::Position(head.position))
        }
        Kind::Commits | Kind::Other => None,
    };
    let mut last = records.iter().find_map(own);
    let mut ordered = Vec::with_capacity(records.len());
    for raw in records {
        last = own(&raw).or(last);
        let order = last.unwrap_or(Order::Time(raw.time_ms.unwrap_or(0)));
        ordered.push((order, raw));
    }
    ordered
}

async fn judge(
    index: &mut Index<'_>,
    question: &Question,
    records: &[RawRecord],
) -> anyhow::Result<Vec<Option<Standing>>> {
    let places = records.iter().map(|raw| {
        // What cannot be read has no place either; apply would stop there.
        (raw.partition, raw.offset, head(raw))
    });
    let places: Vec<_> = places.collect();
    let standings = index.judge(&question.topic, &places).await?;
    Ok(standings.into_iter().map(Some).collect())
}
