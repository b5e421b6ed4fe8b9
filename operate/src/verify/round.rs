//! One comparison, from meeting to verdict.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use change::{Lsn, TableName};
use service::postgres::Connection;
use tokio::time::{MissedTickBehavior, interval};

use super::digest::{Digest, Split};
use super::held;
use super::meeting::{self, Files, Guard, Meeting, Names, Terms};
use super::narrow::{self, Merge};
use super::place::{self, Found, Place};
use super::scan::{self, Task};
use super::side;
use super::verdict::{Comparison, Differences, Side};
use super::{Mend, Options};
use crate::catalog::PublishedTable;
use crate::endpoints::Endpoints;
use crate::units;

/// What all rounds of a comparison have in common. The sessions see no snapshot.
pub(super) struct Surroundings<'a> {
    pub(super) endpoints: &'a Endpoints,
    pub(super) options: &'a Options,
    /// How the target's tables differ by configuration.
    pub(super) configured: applier::Differences,
    pub(super) source: Connection,
    pub(super) target: Connection,
}

pub(super) struct Round<'a> {
    pub(super) lsn: Lsn,
    pub(super) held: Duration,
    /// In the order of the tables.
    pub(super) comparisons: Vec<Comparison>,
    /// The tables of which rows differ.
    pub(super) wrong: Vec<Wrong<'a>>,
}

/// A table whose rows differ, and keys of such rows, as many as a round repairs.
pub(super) struct Wrong<'a> {
    pub(super) shared: Shared<'a>,
    pub(super) keys: Vec<Vec<String>>,
}

/// A table that both sides have.
pub(super) struct Shared<'a> {
    pub(super) table: &'a PublishedTable,
    pub(super) source: Place,
    pub(super) target: Place,
}

/// Of each table, so many rows are repaired before it is compared again; their keys are in memory.
const ROUND_ROWS: usize = 50_000;

/// Between two words on how far it is.
const SAY_INTERVAL: Duration = Duration::from_millis(200);

/// Of a table that is truncated all the time, a lock may come too late: so often it is tried.
const GUARDED_TIMES: usize = 5;

impl Surroundings<'_> {
    /// Compares tables; those that were truncated meanwhile once more, under a lock.
    pub(super) async fn round<'a>(
        &self,
        tables: &[&'a PublishedTable],
        say: &mut (impl FnMut(&str) + Send),
    ) -> anyhow::Result<Round<'a>> {
        let (mut round, mut truncated) = self.guarded(tables, Guard::Files, say).await?;
        for _ in 0..GUARDED_TIMES {
            if truncated.is_empty() {
                break;
            }
            let again: Vec<&PublishedTable> = truncated.iter().map(|at| tables[*at]).collect();
            let (locked, still) = self.guarded(&again, Guard::Locks, say).await?;
            for (at, mut comparison) in truncated.iter().zip(locked.comparisons) {
                comparison.lsn = Some(locked.lsn);
                round.comparisons[*at] = comparison;
            }
            round.held = round.held.max(locked.held);
            round.wrong.extend(locked.wrong);
            truncated = still.into_iter().map(|at| truncated[at]).collect();
        }
        for at in truncated {
            let why = "it was truncated or rewritten each time that it was compared".to_owned();
            round.comparisons[at] = Comparison::none(&tables[at].name, why);
        }
        Ok(round)
    }

    /// Compares tables, and tells which of them were truncated meanwhile: of these, nothing is known.
    async fn guarded<'a>(
        &self,
        tables: &[&'a PublishedTable],
        guard: Guard,
        say: &mut (impl FnMut(&str) + Send),
    ) -> anyhow::Result<(Round<'a>, Vec<usize>)> {
        let source: Vec<TableName> = tables.iter().map(|it| it.name.clone()).collect();
        let names = Names {
            target: source.iter().map(|it| self.configured.table(it)).collect(),
            source,
        };
        let terms = Terms {
            endpoints: self.endpoints,
            limits: self.options.limits,
            readers: self.options.readers,
            tables: &names,
            guard,
        };
        let meeting = meeting::meet(terms, |behind| {
            say(&format!("the target is {} behind", units::bytes(behind)));
        });
        let meeting = Box::pin(meeting).await?;
        let (comparisons, wrong) = Box::pin(self.compare(tables, &meeting, say)).await?;
        let mut round = Round {
            lsn: meeting.lsn,
            held: meeting.held,
            comparisons,
            wrong,
        };
        let files = &meeting.files;
        let now = Files {
            source: place::files(&self.source, &names.source).await?,
            target: place::files(&self.target, &names.target).await?,
        };
        let changed = (0..tables.len()).filter(|at| {
            files.source[*at] != now.source[*at] || files.target[*at] != now.target[*at]
        });
        let truncated: Vec<usize> = changed.collect();
        let is_known = |wrong: &Wrong<'_>| {
            let of = |at: &usize| tables[*at].name == wrong.shared.table.name;
            !truncated.iter().any(of)
        };
        round.wrong.retain(is_known);
        Ok((round, truncated))
    }

    async fn compare<'a>(
        &self,
        tables: &[&'a PublishedTable],
        meeting: &Meeting,
        say: &mut (impl FnMut(&str) + Send),
    ) -> anyhow::Result<(Vec<Comparison>, Vec<Wrong<'a>>)> {
        let pipeline = &self.endpoints.names.pipeline;
        let held = held::tables(&meeting.target.leader, pipeline).await?;
        let mut verdicts = Vec::with_capacity(tables.len());
        let mut shared = Vec::new();
        for table in tables {
            if let Some(why) = held.get(&table.name) {
                verdicts.push(Some(Comparison::none(&table.name, why.clone())));
                continue;
            }
            let (source, target) = (&meeting.source.leader, &meeting.target.leader);
            let (source, target) = place::on_both(source, target, table, &self.configured).await?;
            match (source, target) {
                (Found::Here(source), Found::Here(target)) => {
                    shared.push(Shared {
                        table,
                        source,
                        target,
                    });
                    verdicts.push(None);
                }
                (source, target) => {
                    let (source, target) = tokio::try_join!(
                        self.alone(&meeting.source, table, source),
                        self.alone(&meeting.target, table, target)
                    )?;
                    verdicts.push(Some(Comparison::new(&table.name, source, target)));
                }
            }
        }
        let sums = self.sums(meeting, &shared, Split::Whole, say).await?;
        let mut compared = Vec::with_capacity(shared.len());
        let mut wrong = Vec::new();
        for (shared, (source, target)) in shared.into_iter().zip(sums) {
            let (there, here) = (Side::Rows(source[0]), Side::Rows(target[0]));
            let mut comparison = Comparison::new(&shared.table.name, there, here);
            if !comparison.equal {
                let narrowed = Box::pin(self.narrow(meeting, &shared, say)).await?;
                let (differences, keys) = narrowed;
                comparison.differences = Some(differences);
                wrong.push(Wrong { shared, keys });
            }
            compared.push(comparison);
        }
        let mut compared = compared.into_iter();
        let all = verdicts.into_iter();
        let comparisons = all.filter_map(|verdict| verdict.or_else(|| compared.next()));
        Ok((comparisons.collect(), wrong))
    }

    /// What one side holds of a table that the other does not have as it should.
    async fn alone(
        &self,
        side: &side::Side,
        table: &PublishedTable,
        found: Found,
    ) -> anyhow::Result<Side> {
        let place = match found {
            Found::NoTable => return Ok(Side::NoTable),
            Found::NoColumn(column) => return Ok(Side::NoColumn(column)),
            Found::Here(place) => place,
        };
        let tasks = [Task::new(table, &place, Split::Whole)];
        let (limit, done) = (self.options.load, AtomicI64::new(0));
        let sums = scan::sums(side, &tasks, Split::Whole, limit, &done).await?;
        Ok(Side::Rows(sums[0][0]))
    }

    /// The sums of each table on both sides.
    async fn sums(
        &self,
        meeting: &Meeting,
        tables: &[Shared<'_>],
        split: Split,
        say: &mut (impl FnMut(&str) + Send),
    ) -> anyhow::Result<Vec<(Vec<Digest>, Vec<Digest>)>> {
        let sources = tables
            .iter()
            .map(|it| Task::new(it.table, &it.source, split));
        let targets = tables
            .iter()
            .map(|it| Task::new(it.table, &it.target, split));
        let (sources, targets): (Vec<_>, Vec<_>) = (sources.collect(), targets.collect());
        let all: i64 = sources.iter().chain(&targets).map(Task::weight).sum();
        let done = AtomicI64::new(0);
        let limit = self.options.load;
        let work = async {
            tokio::try_join!(
                scan::sums(&meeting.source, &sources, split, limit, &done),
                scan::sums(&meeting.target, &targets, split, limit, &done)
            )
        };
        tokio::pin!(work);
        let what = match (split, tables) {
            (Split::Buckets, [table]) => {
                format!("looking for what differs in {}", table.table.name)
            }
            _ => format!("comparing {} tables at {}", tables.len(), meeting.lsn),
        };
        let mut ticks = interval(SAY_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (sources, targets) = loop {
            tokio::select! {
                biased;
                sums = &mut work => break sums?,
                _ = ticks.tick() => {
                    let percent = done.load(Ordering::Relaxed) * 100 / all.max(1);
                    say(&format!("{what}: {percent} %"));
                }
            }
        };
        Ok(sources.into_iter().zip(targets).collect())
    }

    /// Finds the rows that differ, and the keys of so many as a round repairs.
    async fn narrow(
        &self,
        meeting: &Meeting,
        shared: &Shared<'_>,
        say: &mut (impl FnMut(&str) + Send),
    ) -> anyhow::Result<(Differences, Vec<Vec<String>>)> {
        let table = shared.table;
        let one = std::slice::from_ref(shared);
        let sums = self.sums(meeting, one, Split::Buckets, say).await?;
        let (there, here) = &sums[0];
        let buckets = narrow::differing(there, here);
        let source = (&*meeting.source.readers()[0], &shared.source);
        let target = (&*meeting.target.readers()[0], &shared.target);
        meeting.source.begin_reading(source.0).await?;
        meeting.target.begin_reading(target.0).await?;
        let keys_max = match self.options.mend {
            Mend::Leave => 0,
            Mend::Repair => ROUND_ROWS,
        };
        let mut merge = Merge::new(table, source, target, &buckets).await?;
        let mut differences = Differences::default();
        let (mut named, mut keys) = (Vec::new(), Vec::new());
        while let Some(unequal) = merge.next().await? {
            differences.count(unequal.kind, unequal.rows);
            if unequal.key.is_empty() {
                continue;
            }
            if keys.len() < keys_max {
                keys.push(unequal.key.clone());
            }
            if named.len() < self.options.rows_named {
                named.push(unequal);
            }
        }
        drop(merge);
        for unequal in named {
            let row = narrow::describe(table, source, target, &unequal).await?;
            differences.rows.push(row);
        }
        meeting.source.end_reading(source.0).await?;
        meeting.target.end_reading(target.0).await?;
        Ok((differences, keys))
    }
}
