//! The present state of rows, by way of a stage, into the live tables.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use change::TableName;
use service::postgres::{Connection, connect};

use super::error::{ReplayError, step};
use super::home::{Home, HomeTable, Kind};
use super::ledger;
use super::merge::Statements;
use super::numbers::{Numbers, TableNumbers};
use super::run::{Event, Found, NEAR_ATTEMPTS, NEAR_RECORDS, Outcome, Run};
use super::source::{Limit, Source};
use crate::control;
use crate::progress::{Phase, Progress};
use crate::statement::Noting;
use crate::target::SETTINGS;

/// A stage that holds what is to be put in place.
pub(super) struct Staged {
    source: Source,
    home: Home,
    /// What was done until now.
    numbers: TableNumbers,
    /// What is left to do.
    pub(super) outcome: Outcome,
}

/// Rows of a dry run that are shown.
const SAMPLE_MAX: usize = 20;
/// A chunk's rows are few and found by their key, which the planner cannot know of a table that has
/// just been filled.
const BY_KEY: &str = "set enable_hashjoin = off; set enable_mergejoin = off";
/// How long apply may stand still for a chunk.
const CHUNK_TIME: Duration = Duration::from_millis(50);
const CHUNK_KEYS_MAX: usize = 50_000;
impl Run<'_> {
    /// The present state of the rows that were changed, into the live tables.
    pub(super) async fn replace(
        &mut self,
        found: &Found,
        schema: &str,
    ) -> Result<Outcome, ReplayError> {
        let staged = self.stage(found, schema).await?;
        (self.report)(Event::Planned(&staged.outcome));
        let outcome = self.merge(found, staged).await?;
        self.drop_schema(schema).await?;
        Ok(outcome)
    }

    /// Brings the stage up to now, and compares it with the live tables.
    pub(super) async fn stage(
        &mut self,
        found: &Found,
        schema: &str,
    ) -> Result<Staged, ReplayError> {
        let differences = &self.config.differences;
        let mut home = Home::open(self.writer.client(), schema, Kind::Stage, differences).await?;
        let mut source = self.source(found).await?;
        let mut numbers = found.numbers.clone();
        let limit = Limit {
            offset: found.survey.end,
            lsn: found.to,
        };
        let selected = Some(Noting::Selected);
        self.read(found, &mut home, &mut source, &mut numbers, limit, selected)
            .await?;
        let mut staged = Staged {
            source,
            home,
            numbers,
            outcome: self.outcome(found, found.to, TableNumbers::new(), Vec::new()),
        };
        let now = Limit::of(&self.progress().await?);
        self.read_on(found, &mut staged, now).await?;
        for table in staged.home.tables() {
            let statements = Statements::of(table);
            if table.all {
                statements.select_rest(self.writer.client()).await?;
            }
            statements.analyze(self.writer.client()).await?;
        }
        self.compare(found, &mut staged).await?;
        Ok(staged)
    }

    /// Compares stage and live tables, both as of one LSN.
    async fn compare(&mut self, found: &Found, staged: &mut Staged) -> Result<(), ReplayError> {
        let started = Instant::now();
        let barrier = self.barrier().await?;
        let now = self.stop_apply(&barrier, found, staged).await?;
        let reader = connect(&self.config.target, "lockstep replay (compare)").await?;
        let begin = "begin isolation level repeatable read read only; select 1";
        let begun = reader.batch_execute(begin).await;
        begun.map_err(step("take a snapshot"))?;
        let gone_on = barrier.batch_execute("rollback").await;
        gone_on.map_err(step("let apply go on"))?;
        staged.outcome.at = now.commit_lsn;
        let tables: Vec<HomeTable> = staged.home.tables().cloned().collect();
        for table in &tables {
            let statements = Statements::of(table);
            let mut numbers = statements.compare(&reader).await?;
            let left = SAMPLE_MAX.saturating_sub(staged.outcome.differences.len());
            let sample = statements.sample(&reader, left).await?;
            staged.outcome.differences.extend(sample);
            numbers.read = staged
                .numbers
                .get(&table.table)
                .map_or(0, |known| known.read);
            staged.outcome.tables.insert(table.table.clone(), numbers);
        }
        // Reading is done already; a run does what was done until now, and writes besides.
        staged.outcome.takes = self.started.elapsed() + started.elapsed();
        Ok(())
    }

    /// Puts the wanted rows in place, a chunk at a time.
    async fn merge(&mut self, found: &Found, mut staged: Staged) -> Result<Outcome, ReplayError> {
        let of: u64 = staged.outcome.tables.values().map(Numbers::rows).sum();
        for (table, planned) in &staged.outcome.tables {
            let known = staged.numbers.entry(table.clone()).or_default();
            known.going_backwards += planned.going_backwards;
        }
        let barrier = self.barrier().await?;
        let tables: Vec<HomeTable> = staged.home.tables().cloned().collect();
        let mut done = 0;
        for table in &tables {
            let statements = Statements::of(table);
            statements.create_chunk(&barrier).await?;
            let least = statements.least_keys(&barrier).await?;
            let mut keys_max = least;
            loop {
                let now = self.stop_apply(&barrier, found, &mut staged).await?;
                let started = Instant::now();
                let merged = statements.merge(&barrier, keys_max).await?;
                *staged.numbers.entry(table.table.clone()).or_default() += merged;
                if let Some(id) = found.id {
                    ledger::advance(&*barrier, id, None, &staged.numbers).await?;
                }
                let committed = barrier.batch_execute("commit").await;
                committed.map_err(step("commit"))?;
                staged.outcome.at = now.commit_lsn;
                done += merged.rows();
                (self.report)(Event::Merging { done, of });
                if merged.rows() < u64::try_from(keys_max).unwrap_or(u64::MAX) {
                    break;
                }
                keys_max = fitting(keys_max, started.elapsed(), least);
                // Apply gets as much time as it was kept.
                tokio::time::sleep(started.elapsed()).await;
            }
        }
        let at = staged.outcome.at;
        Ok(self.outcome(found, at, staged.numbers, staged.outcome.differences))
    }

    /// A session whose transactions keep apply from applying.
    async fn barrier(&self) -> Result<Connection, ReplayError> {
        let barrier = connect(&self.config.target, "lockstep replay (merge)").await?;
        let set = barrier.batch_execute(SETTINGS).await;
        set.map_err(step("set up the session"))?;
        let set = barrier.batch_execute(BY_KEY).await;
        set.map_err(step("set up the session"))?;
        Ok(barrier)
    }

    /// Begins a transaction in which apply stands still, and brings the stage exactly there.
    async fn stop_apply(
        &mut self,
        barrier: &Connection,
        found: &Found,
        staged: &mut Staged,
    ) -> Result<Progress, ReplayError> {
        let mut attempts = 0;
        loop {
            let near = Limit::of(&self.progress().await?);
            self.read_on(found, staged, near).await?;
            let begun = barrier
                .batch_execute("begin; set constraints all deferred")
                .await;
            begun.map_err(step("begin"))?;
            let now = control::stop(&**barrier, &self.config.pipeline).await;
            let now = now
                .map_err(step("stop apply"))?
                .ok_or(ReplayError::NoProgress)?;
            attempts += 1;
            let limit = Limit::of(&now);
            if staged.source.distance(limit) > NEAR_RECORDS && attempts < NEAR_ATTEMPTS {
                let undone = barrier.batch_execute("rollback").await;
                undone.map_err(step("let apply go on"))?;
                continue;
            }
            self.read_on(found, staged, limit).await?;
            self.check(&now, &staged.home).await?;
            return Ok(now);
        }
    }

    /// Whether live tables are where apply is.
    async fn check(&self, now: &Progress, home: &Home) -> Result<(), ReplayError> {
        if now.phase == Phase::Snapshotting {
            return Err(ReplayError::Snapshotting);
        }
        let pipeline = &self.config.pipeline;
        let client = self.writer.client();
        let held = "select table_schema, table_name from lockstep.held_tables where pipeline = $1";
        let open = "select distinct table_schema, table_name from lockstep.dead_letters \
                    where pipeline = $1 and state = 'open'";
        let tables = async |query: &str| {
            let rows = client.query(query, &[pipeline]).await;
            let rows = rows.map_err(step("read what apply has left out"))?;
            let tables = rows
                .iter()
                .map(|row| TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)));
            Ok::<_, ReplayError>(tables.collect::<BTreeSet<TableName>>())
        };
        let own: BTreeSet<TableName> = home.tables().map(|table| table.table.clone()).collect();
        if let Some(table) = tables(held).await?.intersection(&own).next() {
            let table = table.clone();
            return Err(ReplayError::Held { table });
        }
        if let Some(table) = tables(open).await?.intersection(&own).next() {
            let table = table.clone();
            return Err(ReplayError::DeadLetters { table });
        }
        Ok(())
    }

    async fn read_on(
        &mut self,
        found: &Found,
        staged: &mut Staged,
        limit: Limit,
    ) -> Result<(), ReplayError> {
        let Staged {
            source,
            home,
            numbers,
            ..
        } = staged;
        let late = Some(Noting::Late);
        self.read(found, home, source, numbers, limit, late).await
    }
}

/// How many keys fit the time that a chunk may take, when so many took `took`. Fewer than `least`
/// would not take less: on a slow machine the statements do, whatever they find.
fn fitting(keys: usize, took: Duration, least: usize) -> usize {
    match took {
        took if took > CHUNK_TIME * 2 => (keys / 2).max(least),
        took if took < CHUNK_TIME / 2 => (keys * 2).min(CHUNK_KEYS_MAX),
        _ => keys,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_follow_the_time_they_take_and_do_not_vanish_on_a_slow_machine() {
        let ms = Duration::from_millis;
        assert_eq!(fitting(1000, ms(10), 500), 2000);
        assert_eq!(fitting(1000, ms(50), 500), 1000);
        assert_eq!(fitting(1000, ms(200), 500), 500);
        assert_eq!(fitting(500, ms(200), 500), 500);
        assert_eq!(fitting(40_000, ms(1), 500), CHUNK_KEYS_MAX);
    }
}
