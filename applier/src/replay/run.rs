//! A replay from its beginning to its end.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use change::{Lsn, TableName, quoted};
use service::Health;
use service::postgres::{Connection, connect};
use tokio_postgres::Client;

use super::error::{ReplayError, step};
use super::home::{Home, HomeTable, Kind};
use super::ledger::{self, Entry};
use super::merge::{Difference, Statements};
use super::numbers::{Numbers, TableNumbers};
use super::request::{Begin, By, Destination, Place, Request};
use super::source::{Batch, Limit, Source};
use super::survey::{Scope, Survey, Wanted, survey};
use crate::batch::Change;
use crate::config::Config;
use crate::control;
use crate::decode::Action;
use crate::error::Error;
use crate::kafka::CommitsConsumer;
use crate::metrics::Metrics;
use crate::progress::{self, Phase, Progress};
use crate::statement::Noting;
use crate::target::{SETTINGS, Writer};

/// How far a replay is.
#[derive(Debug)]
pub enum Event<'a> {
    /// Changes read of those that there are.
    Reading { read: u64, of: u64 },
    /// What would be done, or what is done next.
    Planned(&'a Outcome),
    /// Rows put in place of those that are wanted.
    Merging { done: u64, of: u64 },
}

/// What a replay did, or would do.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// None of a dry run.
    pub id: Option<i64>,
    pub from: Lsn,
    pub to: Lsn,
    /// The rows' states are those of then.
    pub at: Lsn,
    /// Replays can begin here or later.
    pub earliest: Place,
    pub tables: TableNumbers,
    /// Some of the rows that differ.
    pub differences: Vec<Difference>,
    /// What it took, or what a run is expected to take.
    pub takes: Duration,
}

type Report<'a> = &'a mut (dyn FnMut(Event<'_>) + Send);

/// What a dry run uses, and drops.
const DRY_SCHEMA: &str = "lockstep_replay_dry";
/// Rows of a dry run that are shown.
const SAMPLE_MAX: usize = 20;
/// How long apply may stand still for a chunk.
const CHUNK_TIME: Duration = Duration::from_millis(50);
const CHUNK_KEYS_FIRST: usize = 500;
const CHUNK_KEYS_MAX: usize = 50_000;
/// So many commits records may be left to read when apply is stopped.
pub(super) const NEAR_RECORDS: i64 = 16;
/// After so many attempts to get near, what is left is read while apply stands still.
pub(super) const NEAR_ATTEMPTS: usize = 10;

/// Finds out what a replay would do, and leaves nothing behind.
///
/// # Errors
/// When it is refused, or cannot be read.
pub async fn dry_run(
    config: &Config,
    request: &Request,
    report: Report<'_>,
) -> Result<Outcome, ReplayError> {
    let mut run = Run::begin(config, report).await?;
    let found = run.find(request).await?;
    // As a run would find it.
    run.unfinished(request, &found).await?;
    run.drop_schema(DRY_SCHEMA).await?;
    let done = match request.into {
        Destination::Live => run
            .stage(&found, DRY_SCHEMA)
            .await
            .map(|staged| staged.outcome),
        Destination::Schema(_) => run.copy(&found, DRY_SCHEMA).await,
    };
    let dropped = run.abandon(DRY_SCHEMA).await;
    let outcome = done?;
    dropped?;
    Ok(outcome)
}

/// Replays. One like it that was begun and not finished goes on.
///
/// # Errors
/// When it is refused, cancelled, or cannot go on; it can be resumed then.
pub async fn run(
    config: &Config,
    request: &Request,
    by: &By,
    report: Report<'_>,
) -> Result<Outcome, ReplayError> {
    let mut run = Run::begin(config, report).await?;
    let found = run.find(request).await?;
    match run.unfinished(request, &found).await? {
        Some(entry) => run.go_on(entry, by).await,
        None => run.anew(request, found, by).await,
    }
}

/// Goes on with a replay that was begun.
///
/// # Errors
/// As [`run`].
pub async fn resume(
    config: &Config,
    id: i64,
    by: &By,
    report: Report<'_>,
) -> Result<Outcome, ReplayError> {
    let mut run = Run::begin(config, report).await?;
    let entry = ledger::find(run.writer.client(), &config.pipeline, id).await?;
    if entry.state == "done" {
        let state = entry.state;
        return Err(ReplayError::State { id, state });
    }
    run.go_on(entry, by).await
}

/// What is needed from the beginning to the end.
struct Run<'a> {
    config: &'a Config,
    report: Report<'a>,
    /// Its session holds the lock that keeps others out.
    writer: Writer,
    metrics: Metrics,
    health: Health,
    started: Instant,
}

/// A replay whose place in the topics is known.
struct Found {
    id: Option<i64>,
    to: Lsn,
    topics: Option<HashSet<String>>,
    survey: Survey,
    /// What an earlier run did.
    numbers: TableNumbers,
}

/// A stage that holds what is to be put in place.
struct Staged {
    source: Source,
    home: Home,
    /// What was done until now.
    numbers: TableNumbers,
    /// What is left to do.
    outcome: Outcome,
}

impl<'a> Run<'a> {
    async fn begin(config: &'a Config, report: Report<'a>) -> Result<Self, ReplayError> {
        let writer = Writer::open(&config.target, "lockstep replay").await?;
        let lock = "select pg_try_advisory_lock(hashtextextended('lockstep replay ' || $1, 0))";
        let row = writer.client().query_one(lock, &[&config.pipeline]).await;
        if !row.map_err(step("lock"))?.get::<_, bool>(0) {
            return Err(ReplayError::Busy {
                pipeline: config.pipeline.clone(),
            });
        }
        Ok(Self {
            config,
            report,
            writer,
            metrics: Metrics::register(&prometheus::Registry::new()).map_err(Error::from)?,
            health: Health::default(),
            started: Instant::now(),
        })
    }

    /// Where in the topics it begins and ends.
    async fn find(&self, request: &Request) -> Result<Found, ReplayError> {
        let progress = self.progress().await?;
        let to = request.to.unwrap_or(progress.commit_lsn);
        let scope = match (&request.into, request.begin) {
            (Destination::Schema(_), Begin::Resumed { .. }) | (Destination::Live, _) => {
                Scope::ToThePresent
            }
            (Destination::Schema(_), _) => Scope::FromASnapshot,
        };
        if progress.phase == Phase::Snapshotting {
            return Err(ReplayError::Snapshotting);
        }
        if request.into == Destination::Live && to > progress.commit_lsn {
            let applied = progress.commit_lsn;
            return Err(ReplayError::NotApplied { to, applied });
        }
        let (config, metrics, health) = (self.config, &self.metrics, &self.health);
        let mut commits = CommitsConsumer::open(config, None, metrics, health).await?;
        let mut topics = HashSet::new();
        for table in &request.tables {
            let topic = config.prefix.data(table).map_err(Error::from)?;
            if commits.first_offset(&topic, 0).await? == i64::MAX {
                return Err(ReplayError::UnknownTable {
                    table: table.clone(),
                });
            }
            topics.insert(topic);
        }
        let topics = (!topics.is_empty()).then_some(topics);
        let wanted = Wanted {
            begin: &request.begin,
            to,
            topics: topics.as_ref(),
            scope,
        };
        Ok(Found {
            id: None,
            to,
            survey: survey(&mut commits, &wanted).await?,
            topics,
            numbers: TableNumbers::new(),
        })
    }

    /// One that was begun as this one is, and not finished.
    async fn unfinished(
        &self,
        request: &Request,
        found: &Found,
    ) -> Result<Option<Entry>, ReplayError> {
        let entries = ledger::list(self.writer.client(), &self.config.pipeline).await?;
        let same_begin = |entry: &Entry| {
            request.begin == Begin::Earliest || entry.from == found.survey.start.from
        };
        let cancelled = request.into != Destination::Live;
        let like = |entry: &Entry| {
            entry.into == request.into
                && entry.state != "done"
                && (cancelled || entry.state != "cancelled")
                && entry.tables == request.tables
                && request.to.is_none_or(|to| to == entry.to)
                && same_begin(entry)
        };
        let entry = entries.into_iter().find(like);
        if let (None, Destination::Schema(schema)) = (&entry, &request.into)
            && self.has_schema(schema).await?
        {
            return Err(ReplayError::SchemaExists {
                schema: schema.clone(),
            });
        }
        Ok(entry)
    }

    async fn anew(
        &mut self,
        request: &Request,
        mut found: Found,
        by: &By,
    ) -> Result<Outcome, ReplayError> {
        let mut entry = Entry {
            id: 0,
            into: request.into.clone(),
            from: found.survey.start.from,
            to: found.to,
            tables: request.tables.clone(),
            state: "running".to_owned(),
            read: None,
            rows_read: 0,
            numbers: TableNumbers::new(),
            error: None,
            started_by: by.who.clone(),
            reason: by.reason.clone(),
            started_at: SystemTime::now(),
            touched_at: SystemTime::now(),
            finished_at: None,
            reached: None,
        };
        self.drop_old_stages().await?;
        let client = self.writer.client();
        entry.id = ledger::begin(client, &self.config.pipeline, &entry).await?;
        found.id = Some(entry.id);
        self.finish(&entry, &found).await
    }

    async fn go_on(&mut self, entry: Entry, by: &By) -> Result<Outcome, ReplayError> {
        let client = self.writer.client();
        ledger::go_on(client, &self.config.pipeline, entry.id, by).await?;
        let begin = match entry.reached {
            Some(reached) if self.has_schema(&entry.schema()).await? => Begin::Resumed {
                next: reached.next,
                from: entry.from,
                done: reached.done,
            },
            _ => Begin::Lsn(entry.from),
        };
        let request = Request {
            begin,
            to: Some(entry.to),
            tables: entry.tables.clone(),
            into: entry.into.clone(),
        };
        let mut found = self.find(&request).await?;
        found.id = Some(entry.id);
        if matches!(begin, Begin::Resumed { .. }) {
            found.numbers = entry.numbers.clone();
        }
        self.finish(&entry, &found).await
    }

    /// Does it, and writes down how it ended.
    async fn finish(&mut self, entry: &Entry, found: &Found) -> Result<Outcome, ReplayError> {
        let schema = entry.schema();
        let done = match entry.into {
            Destination::Schema(_) => self.copy(found, &schema).await,
            Destination::Live => self.replace(found, &schema).await,
        };
        let error = match &done {
            Ok(_) => None,
            Err(ReplayError::Cancelled { .. }) => return done,
            Err(error) => Some(service::chain(error)),
        };
        // The session may be what failed.
        let client = connect(&self.config.target, "lockstep replay").await?;
        ledger::finish(&client, entry.id, error.as_deref()).await?;
        done
    }

    /// The tables as they stood at `to`, in a schema of their own.
    async fn copy(&mut self, found: &Found, schema: &str) -> Result<Outcome, ReplayError> {
        let mut home = Home::open(self.writer.client(), schema, Kind::Copy).await?;
        let mut source = self.source(found).await?;
        let mut numbers = found.numbers.clone();
        let limit = Limit {
            offset: found.survey.end,
            lsn: found.to,
        };
        self.read(found, &mut home, &mut source, &mut numbers, limit, None)
            .await?;
        for table in home.tables() {
            let count = format!("select count(*) from {}", table.rows.quoted());
            let row = self.writer.client().query_one(&count, &[]).await;
            let rows: i64 = row.map_err(step("count rows of the copy"))?.get(0);
            let numbers = numbers.entry(table.live.clone()).or_default();
            numbers.inserted = u64::try_from(rows).unwrap_or_default();
        }
        self.note(found, &numbers).await?;
        Ok(self.outcome(found, found.to, numbers, Vec::new()))
    }

    /// The present state of the rows that were changed, into the live tables.
    async fn replace(&mut self, found: &Found, schema: &str) -> Result<Outcome, ReplayError> {
        let staged = self.stage(found, schema).await?;
        (self.report)(Event::Planned(&staged.outcome));
        let outcome = self.merge(found, staged).await?;
        self.drop_schema(schema).await?;
        Ok(outcome)
    }

    /// Brings the stage up to now, and compares it with the live tables.
    async fn stage(&mut self, found: &Found, schema: &str) -> Result<Staged, ReplayError> {
        let mut home = Home::open(self.writer.client(), schema, Kind::Stage).await?;
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
                .get(&table.live)
                .map_or(0, |known| known.read);
            staged.outcome.tables.insert(table.live.clone(), numbers);
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
        let mut keys_max = CHUNK_KEYS_FIRST;
        for table in &tables {
            let statements = Statements::of(table);
            statements.create_chunk(&barrier).await?;
            loop {
                let now = self.stop_apply(&barrier, found, &mut staged).await?;
                let started = Instant::now();
                let merged = statements.merge(&barrier, keys_max).await?;
                *staged.numbers.entry(table.live.clone()).or_default() += merged;
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
                keys_max = fitting(keys_max, started.elapsed());
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
            let now = control::take(&**barrier, &self.config.pipeline).await;
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
        let own: BTreeSet<TableName> = home.tables().map(|table| table.live.clone()).collect();
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

    /// Reads up to `limit` and writes what comes.
    async fn read(
        &mut self,
        found: &Found,
        home: &mut Home,
        source: &mut Source,
        numbers: &mut TableNumbers,
        limit: Limit,
        noting: Option<Noting>,
    ) -> Result<(), ReplayError> {
        let left: u64 = found.survey.records.values().sum();
        let of = left + found.numbers.values().map(|it| it.read).sum::<u64>();
        while let Some(batch) = source.next(limit).await? {
            let end = batch.end;
            if noting != Some(Noting::Late) {
                count(numbers, &batch);
            }
            self.write(home, batch, noting).await?;
            let Some(end) = end else {
                continue;
            };
            if let Some(id) = found.id {
                ledger::advance(self.writer.client(), id, Some(end), numbers).await?;
            }
            self.writer.commit().await?;
            if noting != Some(Noting::Late) {
                let read = numbers.values().map(|numbers| numbers.read).sum();
                (self.report)(Event::Reading { read, of });
            }
        }
        Ok(())
    }

    async fn write(
        &mut self,
        home: &mut Home,
        batch: Batch,
        noting: Option<Noting>,
    ) -> Result<(), ReplayError> {
        for change in &batch.changes {
            home.admit(&mut self.writer, &change.plan).await?;
        }
        self.writer.begin().await?;
        let Some(noting) = noting else {
            return Ok(self.writer.write(&batch.changes, None).await?);
        };
        let changes: Vec<Change> = batch.changes.into_iter().flat_map(unmoved).collect();
        self.writer.write(&changes, Some(noting)).await?;
        for change in changes.iter().filter(|it| it.action == Action::Truncate) {
            let table = &change.plan.relation.table;
            home.truncated(self.writer.client(), table, noting).await?;
        }
        Ok(())
    }

    async fn source(&self, found: &Found) -> Result<Source, ReplayError> {
        let topics = found.topics.clone();
        let (metrics, health) = (&self.metrics, &self.health);
        let start = &found.survey.start;
        Ok(Source::open(self.config, metrics, health, topics, start).await?)
    }

    async fn note(&self, found: &Found, numbers: &TableNumbers) -> Result<(), ReplayError> {
        match found.id {
            Some(id) => ledger::advance(self.writer.client(), id, None, numbers).await,
            None => Ok(()),
        }
    }

    fn outcome(
        &self,
        found: &Found,
        at: Lsn,
        tables: TableNumbers,
        differences: Vec<Difference>,
    ) -> Outcome {
        Outcome {
            id: found.id,
            from: found.survey.start.from,
            to: found.to,
            at,
            earliest: found.survey.earliest.clone(),
            tables,
            differences,
            takes: self.started.elapsed(),
        }
    }

    async fn progress(&self) -> Result<Progress, ReplayError> {
        let read = progress::read(self.writer.client(), &self.config.pipeline).await;
        let read = read.map_err(step("read lockstep.progress"))?;
        read.ok_or(ReplayError::NoProgress)
    }

    async fn has_schema(&self, schema: &str) -> Result<bool, ReplayError> {
        let query = "select exists (select from pg_catalog.pg_namespace where nspname = $1)";
        let row = self.writer.client().query_one(query, &[&schema]).await;
        Ok(row.map_err(step("look for a schema"))?.get(0))
    }

    /// Those of replays that were not finished, and are not this one.
    async fn drop_old_stages(&self) -> Result<(), ReplayError> {
        let query = "select n.nspname::text from pg_catalog.pg_namespace n \
                     join lockstep.replays r on n.nspname = 'lockstep_replay_' || r.id::text \
                     where r.pipeline = $1 and r.mode = 'live'";
        let rows = self
            .writer
            .client()
            .query(query, &[&self.config.pipeline])
            .await;
        for row in rows.map_err(step("look for stages of earlier replays"))? {
            self.drop_schema(row.get(0)).await?;
        }
        Ok(())
    }

    /// After a failure the writer's session may be in the middle of a transaction.
    async fn abandon(&self, schema: &str) -> Result<(), ReplayError> {
        let undone = self.writer.client().batch_execute("rollback").await;
        undone.map_err(step("roll back"))?;
        self.drop_schema(schema).await
    }

    async fn drop_schema(&self, schema: &str) -> Result<(), ReplayError> {
        let drop = format!("drop schema if exists {} cascade", quoted(schema));
        let dropped = self.client().batch_execute(&drop).await;
        dropped.map_err(step("drop the replay's schema"))
    }

    fn client(&self) -> &Client {
        self.writer.client()
    }
}

fn count(numbers: &mut TableNumbers, batch: &Batch) {
    for change in &batch.changes {
        let table = &change.plan.relation.table;
        match numbers.get_mut(table) {
            Some(numbers) => numbers.read += 1,
            None => {
                numbers.entry(table.clone()).or_default().read = 1;
            }
        }
    }
}

/// An update that moves a row and brings all of it is a delete and an insert: so it does not keep what
/// comes behind it from being compacted.
fn unmoved(change: Change) -> Vec<Change> {
    match change.action {
        Action::Update {
            row,
            moved_from: Some(old_key),
        } if !row.has_unchanged() => {
            let (deleted, inserted) = (Action::Delete(old_key), Action::Insert(row));
            [deleted, inserted]
                .map(|action| Change {
                    action,
                    plan: Arc::clone(&change.plan),
                    ..change
                })
                .to_vec()
        }
        _ => vec![change],
    }
}

/// How many keys fit the time that a chunk may take, when so many took `took`.
fn fitting(keys: usize, took: Duration) -> usize {
    match took {
        took if took > CHUNK_TIME * 2 => (keys / 2).max(1),
        took if took < CHUNK_TIME / 2 => (keys * 2).min(CHUNK_KEYS_MAX),
        _ => keys,
    }
}
