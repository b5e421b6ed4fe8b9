//! What the topics still hold, and where in them a replay begins and ends.
//!
//! The records of the commits topic are the index: one pass over them tells from where on every
//! covered record is still there, in which record a position stands, and how much there is to read.

use std::collections::{HashMap, HashSet};

use change::Lsn;
use change::commit::{CommitKind, CommitRecord};

use super::error::ReplayError;
use super::request::{Begin, Place};
use crate::consume::{Admission, admit, commit_record};
use crate::error::Error;
use crate::kafka::CommitsConsumer;
use crate::progress::Mark;

/// What a survey looks for.
pub(super) struct Wanted<'a> {
    pub(super) begin: &'a Begin,
    pub(super) to: Lsn,
    /// `None`: all.
    pub(super) topics: Option<&'a HashSet<String>>,
    pub(super) scope: Scope,
}

/// What has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Everything from the beginning up to now: changes choose rows, whose present state is wanted.
    ToThePresent,
    /// Everything from the beginning of a snapshot up to `to`.
    FromASnapshot,
}

/// What it found.
#[derive(Debug)]
pub(super) struct Survey {
    /// The first place from which on everything wanted is there.
    pub(super) earliest: Place,
    pub(super) start: Start,
    /// Offset of the last commits record that has something up to `to`.
    pub(super) end: i64,
    /// Covered records by topic, from the start to the end.
    pub(super) records: HashMap<String, u64>,
}

/// Where reading begins.
#[derive(Clone, Debug)]
pub(super) struct Start {
    /// Of the first commits record.
    pub(super) offset: i64,
    /// Where a target would be that has applied everything before it.
    pub(super) last: Option<Mark>,
    /// Changes that committed before it are not wanted.
    pub(super) from: Lsn,
    /// What of the first record was read before.
    pub(super) done: Lsn,
}

/// Reads the commits topic from its first record to its last of now.
///
/// # Errors
/// When what is wanted is not there (any more), or the topic cannot be read.
pub(super) async fn survey(
    commits: &mut CommitsConsumer,
    wanted: &Wanted<'_>,
) -> Result<Survey, ReplayError> {
    let (low, high) = commits.reach().await?;
    if low == high {
        return Err(ReplayError::NothingThere);
    }
    let mut folding = Folding::new(wanted);
    let mut lows = HashMap::new();
    loop {
        let (offset, value) = commits.next().await?;
        let record = commit_record(commits.topic(), offset, &value)?;
        let lost = is_lost(commits, &mut lows, wanted, &record).await?;
        folding.take(&record, offset, lost);
        if offset + 1 >= high || folding.has_enough() {
            return folding.finish(offset + 1);
        }
    }
}

/// Whether retention has passed something that the record covers. `lows` keeps the first offsets of
/// partitions.
async fn is_lost(
    commits: &CommitsConsumer,
    lows: &mut HashMap<(String, i32), i64>,
    wanted: &Wanted<'_>,
    record: &CommitRecord,
) -> Result<bool, Error> {
    for range in record.partitions.iter().filter(|it| wanted.has(&it.topic)) {
        let partition = (range.topic.clone(), range.partition);
        let low = match lows.get(&partition) {
            Some(low) => *low,
            None => {
                let low = commits.first_offset(&range.topic, range.partition).await?;
                lows.insert(partition, low);
                low
            }
        };
        if range.first_offset < low {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What is known after the records so far.
struct Folding<'a> {
    wanted: &'a Wanted<'a>,
    last: Option<Mark>,
    latest: Option<Place>,
    earliest: Option<Place>,
    /// Nothing was ever before the earliest place.
    earliest_is_beginning: bool,
    chosen: Option<Tally>,
    /// A snapshot that is not complete yet, if all of it is there.
    opening: Option<Tally>,
    /// A snapshot may be open: what comes of one may continue it, whatever its epoch.
    in_snapshot: bool,
    end: Option<i64>,
}

/// A place to begin at, and what was counted since.
struct Tally {
    start: Start,
    records: HashMap<String, u64>,
}

impl<'a> Folding<'a> {
    fn new(wanted: &'a Wanted<'a>) -> Self {
        Self {
            wanted,
            last: None,
            latest: None,
            earliest: None,
            earliest_is_beginning: false,
            chosen: None,
            opening: None,
            in_snapshot: false,
            end: None,
        }
    }

    /// `lost`: retention has passed something that the record covers.
    fn take(&mut self, record: &CommitRecord, offset: i64, lost: bool) {
        if self.last.is_none() {
            self.begin_at(record, offset);
        }
        let admission = match admit(self.last.as_ref().map(|mark| &mark.link), record) {
            Ok(admission) => admission,
            // A hole: what comes behind it is all there is.
            Err(_) => {
                self.begin_at(record, offset);
                Admission::Apply
            }
        };
        match (admission, &mut self.last) {
            (Admission::Ignore, Some(last)) => last.commits_offset = offset,
            (Admission::Fence, Some(last)) => {
                last.commits_offset = offset;
                last.link.epoch = record.epoch;
            }
            (Admission::Ignore | Admission::Fence | Admission::Apply, _) => {
                self.note(record, offset, lost);
                let phase = self.last.as_ref().map(|last| last.phase);
                self.last = Some(Mark::after(record, offset, phase));
            }
        }
    }

    /// Whatever was before this record is not known.
    fn begin_at(&mut self, record: &CommitRecord, offset: i64) {
        self.earliest_is_beginning = record.previous_commit_lsn == Lsn::ZERO;
        self.last = (!self.earliest_is_beginning).then(|| {
            let mut mark = Mark::after(record, offset - 1, None);
            mark.link.commit_lsn = record.previous_commit_lsn;
            mark.applied = record.previous_commit_lsn;
            mark
        });
        self.earliest = None;
        self.chosen = None;
        self.opening = None;
        self.in_snapshot = !self.earliest_is_beginning;
    }

    fn note(&mut self, record: &CommitRecord, offset: i64, lost: bool) {
        let place = Place::of(record, offset);
        if lost {
            self.earliest = None;
            self.earliest_is_beginning = false;
            self.chosen = None;
            self.opening = None;
        } else if self.earliest.is_none() {
            self.earliest = Some(place.clone());
        }
        self.latest = Some(place);
        if record.previous_commit_lsn < self.wanted.to || record.commit_lsn <= self.wanted.to {
            self.end = Some(offset);
        }
        if record.kind == CommitKind::SnapshotChunk && !self.in_snapshot {
            self.in_snapshot = true;
            if !lost && self.wanted.scope == Scope::FromASnapshot {
                let reached = self.chosen.is_some() || self.wanted.from(record, offset).is_some();
                let start = self.start(offset, record.commit_lsn);
                self.opening = reached.then(|| Tally::at(start));
            }
        }
        if !lost && self.chosen.is_none() && self.wanted.scope == Scope::ToThePresent {
            let from = self.wanted.from(record, offset);
            self.chosen = from.map(|from| Tally::at(self.start(offset, from)));
        }
        if self.end == Some(offset) {
            for tally in [&mut self.chosen, &mut self.opening].into_iter().flatten() {
                tally.add(record, self.wanted);
            }
            if record.kind == CommitKind::SnapshotComplete && self.opening.is_some() {
                self.chosen = self.opening.take();
            }
        }
        if record.kind == CommitKind::SnapshotComplete {
            self.in_snapshot = false;
        }
    }

    fn start(&self, offset: i64, from: Lsn) -> Start {
        Start {
            offset,
            last: self.last.clone(),
            from,
            done: match *self.wanted.begin {
                Begin::Resumed { done, .. } => done,
                _ => Lsn::ZERO,
            },
        }
    }

    /// What comes behind `to` matters only where the present state is wanted.
    fn has_enough(&self) -> bool {
        let past = |latest: &Place| latest.lsn > self.wanted.to;
        self.wanted.scope == Scope::FromASnapshot && self.latest.as_ref().is_some_and(past)
    }

    fn finish(self, high: i64) -> Result<Survey, ReplayError> {
        let latest = self.latest.ok_or(ReplayError::NothingThere)?;
        let Some(earliest) = self.earliest else {
            return Err(ReplayError::AllLost { latest });
        };
        if self.wanted.to > latest.lsn {
            return Err(ReplayError::NotReached {
                to: self.wanted.to,
                latest,
            });
        }
        if let Begin::Resumed { next, from, done } = *self.wanted.begin
            && next >= high
        {
            // Everything was read; only what comes is missing.
            return Ok(Survey {
                earliest,
                start: Start {
                    offset: next,
                    last: self.last,
                    from,
                    done,
                },
                end: high - 1,
                records: HashMap::new(),
            });
        }
        let chosen = match (self.chosen, self.wanted.scope) {
            (Some(chosen), _) => chosen,
            (None, Scope::FromASnapshot) => return Err(ReplayError::NoSnapshot { earliest }),
            (None, Scope::ToThePresent) => return Err(ReplayError::Beyond { latest }),
        };
        let early = match self.wanted.begin {
            Begin::Lsn(lsn) => *lsn <= earliest.after,
            Begin::Time(micros) => *micros < earliest.commit_time,
            Begin::Offset(offset) | Begin::Resumed { next: offset, .. } => {
                *offset < earliest.offset
            }
            Begin::Earliest => false,
        };
        if early && !self.earliest_is_beginning && self.wanted.scope == Scope::ToThePresent {
            return Err(ReplayError::TooEarly { earliest });
        }
        let end = self.end.ok_or(ReplayError::NothingThere)?;
        let resumed = matches!(self.wanted.begin, Begin::Resumed { .. });
        if chosen.start.offset > end && !resumed {
            return Err(ReplayError::Backwards {
                from: chosen.start.from,
                to: self.wanted.to,
            });
        }
        Ok(Survey {
            earliest,
            start: chosen.start,
            end,
            records: chosen.records,
        })
    }
}

impl Wanted<'_> {
    pub(super) fn has(&self, topic: &str) -> bool {
        self.topics.is_none_or(|topics| topics.contains(topic))
    }

    /// The LSN from which on changes are wanted, when the beginning is in this record or before it.
    fn from(&self, record: &CommitRecord, offset: i64) -> Option<Lsn> {
        let whole = match record.kind {
            CommitKind::SnapshotChunk => record.commit_lsn,
            _ => Place::of(record, offset).first,
        };
        match *self.begin {
            Begin::Earliest => Some(whole),
            Begin::Lsn(lsn) => (record.commit_lsn >= lsn).then_some(lsn),
            Begin::Time(micros) => {
                let within = record
                    .transactions
                    .iter()
                    .find(|it| it.commit_time >= micros);
                let all = (record.commit_time >= micros).then_some(record.commit_lsn);
                within.map(|it| it.commit_lsn).or(all)
            }
            Begin::Offset(wanted) => (offset >= wanted).then_some(whole),
            Begin::Resumed { next, from, .. } => (offset >= next).then_some(from),
        }
    }
}

impl Tally {
    fn at(start: Start) -> Self {
        Self {
            start,
            records: HashMap::new(),
        }
    }

    fn add(&mut self, record: &CommitRecord, wanted: &Wanted<'_>) {
        for range in record
            .partitions
            .iter()
            .filter(|range| wanted.has(&range.topic))
        {
            match self.records.get_mut(&range.topic) {
                Some(count) => *count += range.records,
                None => {
                    self.records.insert(range.topic.clone(), range.records);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use change::commit::{PartitionRange, Transaction};

    use super::*;

    /// Commits records at offsets 0, 1, …: kind, epoch, then the LSN before and its own. They
    /// committed at ten times their LSN.
    type Row = (CommitKind, i64, u64, u64);

    const CHUNK: CommitKind = CommitKind::SnapshotChunk;
    const COMPLETE: CommitKind = CommitKind::SnapshotComplete;
    const STREAM: CommitKind = CommitKind::Stream;

    /// A snapshot at 10 in two records, then transactions.
    const HISTORY: [Row; 6] = [
        (CHUNK, 1, 0, 10),
        (CHUNK, 1, 10, 10),
        (COMPLETE, 1, 10, 10),
        (STREAM, 1, 10, 20),
        (STREAM, 1, 20, 30),
        (STREAM, 1, 30, 40),
    ];

    fn record(&(kind, epoch, previous, lsn): &Row) -> CommitRecord {
        let commit_time = i64::try_from(lsn).unwrap() * 10;
        let transaction = Transaction {
            xid: 1,
            commit_lsn: Lsn::new(lsn),
            commit_time,
            changes: 5,
        };
        CommitRecord {
            pipeline: "p".into(),
            epoch,
            system_id: "7".into(),
            timeline: 1,
            slot: "s".into(),
            previous_commit_lsn: Lsn::new(previous),
            commit_lsn: Lsn::new(lsn),
            commit_time,
            kind,
            transactions: (kind == STREAM)
                .then_some(transaction)
                .into_iter()
                .collect(),
            partitions: vec![PartitionRange {
                topic: "p.public.t".into(),
                partition: 0,
                first_offset: 0,
                end_offset: 5,
                records: 5,
            }],
            sequences: Vec::new(),
        }
    }

    /// `lost` records are before what retention has left of the data.
    fn find(history: &[Row], lost: i64, begin: Begin, to: u64, scope: Scope) -> String {
        let wanted = Wanted {
            begin: &begin,
            to: Lsn::new(to),
            topics: None,
            scope,
        };
        let mut folding = Folding::new(&wanted);
        for (offset, row) in (0..).zip(history) {
            folding.take(&record(row), offset, offset < lost);
        }
        match folding.finish(i64::try_from(history.len()).unwrap()) {
            Ok(found) => {
                let (start, records) = (&found.start, &found.records);
                let count: u64 = records.values().sum();
                format!(
                    "{} from {}, to {}, {count}",
                    start.offset, start.from, found.end
                )
            }
            Err(error) => error.to_string(),
        }
    }

    #[track_caller]
    fn live(lost: i64, begin: Begin, to: u64, expected: &str) {
        let found = find(&HISTORY, lost, begin, to, Scope::ToThePresent);
        assert!(found.starts_with(expected), "{found}");
    }

    #[track_caller]
    fn copy(history: &[Row], lost: i64, to: u64, expected: &str) {
        let found = find(history, lost, Begin::Earliest, to, Scope::FromASnapshot);
        assert!(found.starts_with(expected), "{found}");
    }

    #[test]
    fn positions_are_found_by_lsn_by_time_and_by_offset() {
        live(0, Begin::Earliest, 40, "0 from 0/A, to 5, 30");
        live(0, Begin::Lsn(Lsn::new(10)), 40, "0 from 0/A, to 5, 30");
        live(0, Begin::Lsn(Lsn::new(11)), 40, "3 from 0/B, to 5, 15");
        live(0, Begin::Lsn(Lsn::new(20)), 29, "3 from 0/14, to 4, 10");
        live(0, Begin::Lsn(Lsn::new(20)), 20, "3 from 0/14, to 3, 5");
        live(0, Begin::Time(201), 40, "4 from 0/1E, to 5, 10");
        live(0, Begin::Offset(4), 40, "4 from 0/1E, to 5, 10");
        let resumed = Begin::Resumed {
            next: 6,
            from: Lsn::new(10),
            done: Lsn::new(40),
        };
        live(0, resumed, 40, "6 from 0/A, to 5, 0");
    }

    #[test]
    fn what_is_not_there_is_refused_with_what_is() {
        live(4, Begin::Earliest, 40, "4 from 0/1E, to 5, 10");
        live(4, Begin::Lsn(Lsn::new(21)), 40, "4 from 0/15, to 5, 10");
        live(
            4,
            Begin::Lsn(Lsn::new(20)),
            40,
            "the topics reach back to 0/1E (offset 4",
        );
        live(4, Begin::Time(299), 40, "the topics reach back to 0/1E");
        live(4, Begin::Offset(3), 40, "the topics reach back to 0/1E");
        live(6, Begin::Earliest, 40, "retention has removed");
        live(
            0,
            Begin::Lsn(Lsn::new(41)),
            40,
            "nothing committed there yet",
        );
        live(0, Begin::Earliest, 41, "the topics end at");
        live(
            0,
            Begin::Lsn(Lsn::new(30)),
            20,
            "the replay would end at 0/14",
        );
    }

    #[test]
    fn a_hole_in_the_chain_is_an_end_of_what_is_there() {
        let mut history = HISTORY;
        history[4] = (STREAM, 1, 25, 30);
        let begin = Begin::Lsn(Lsn::new(20));
        let found = find(&history, 0, begin, 40, Scope::ToThePresent);
        assert!(
            found.starts_with("the topics reach back to 0/1E (offset 4"),
            "{found}"
        );
    }

    #[test]
    fn a_copy_begins_with_the_last_snapshot_that_was_complete() {
        copy(&HISTORY, 0, 35, "0 from 0/A, to 5, 30");
        copy(&HISTORY, 1, 35, "a copy needs");
        let again: Vec<Row> = HISTORY
            .into_iter()
            .chain([
                (CHUNK, 2, 40, 50),
                (COMPLETE, 2, 50, 50),
                (STREAM, 2, 50, 60),
            ])
            .collect();
        copy(&again, 0, 60, "6 from 0/32, to 8, 15");
        copy(&again, 2, 60, "6 from 0/32, to 8, 15");
        copy(&again, 0, 45, "0 from 0/A, to 6, 35");
    }

    #[test]
    fn a_snapshot_that_was_interrupted_is_there_from_its_first_part_on() {
        let history = [
            (CHUNK, 1, 0, 10),
            (STREAM, 2, 10, 20),
            (CHUNK, 2, 20, 25),
            (STREAM, 3, 25, 30),
            (CHUNK, 3, 30, 35),
            (COMPLETE, 3, 35, 35),
            (STREAM, 4, 35, 40),
        ];
        copy(&history, 0, 40, "0 from 0/A, to 6, 35");
        copy(&history, 0, 34, "a copy needs");
        copy(&history, 1, 40, "a copy needs");
        let middle: Vec<Row> = history.into_iter().skip(2).collect();
        copy(&middle, 0, 40, "a copy needs");
    }
}
