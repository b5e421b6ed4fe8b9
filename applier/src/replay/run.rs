//! A replay from its beginning to its end.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use change::{Lsn, quoted};
use service::Health;
use service::postgres::connect;
use tokio_postgres::Client;

use super::error::{ReplayError, step};
use super::home::{Home, Kind};
use super::ledger::{self, Entry};
use super::merge::Difference;
use super::numbers::TableNumbers;
use super::request::{Begin, By, Destination, Place, Request};
use super::source::{Batch, Limit, Source};
use super::survey::{Scope, Survey, Wanted, survey};
use crate::batch::Change;
use crate::config::Config;
use crate::decode::Action;
use crate::error::Error;
use crate::kafka::CommitsConsumer;
use crate::metrics::Metrics;
use crate::progress::{self, Phase, Progress};
use crate::statement::Noting;
use crate::target::Writer;

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

type Report<'a> = &'a mut (dyn FnMut(Event<'_>) + Send + Sync);

/// What a dry run uses, and drops.
const DRY_SCHEMA: &str = "lockstep_replay_dry";
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
const LOCK_INTERVAL: Duration = Duration::from_millis(100);
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
pub(super) struct Run<'a> {
    pub(super) config: &'a Config,
    pub(super) report: Report<'a>,
    /// Its session holds the lock that keeps others out.
    pub(super) writer: Writer,
    metrics: Metrics,
    health: Health,
    pub(super) started: Instant,
}

/// A replay whose place in the topics is known.
pub(super) struct Found {
    pub(super) id: Option<i64>,
    pub(super) to: Lsn,
    topics: Option<HashSet<String>>,
    pub(super) survey: Survey,
    /// What an earlier run did.
    pub(super) numbers: TableNumbers,
}

impl<'a> Run<'a> {
    async fn begin(config: &'a Config, report: Report<'a>) -> Result<Self, ReplayError> {
        let writer = Writer::open(&config.target, "lockstep replay").await?;
        // A session that was killed holds it until the server notices.
        let give_up_at = Instant::now() + LOCK_PATIENCE;
        while !lock(writer.client(), &config.pipeline).await? {
            if Instant::now() > give_up_at {
                return Err(ReplayError::Busy {
                    pipeline: config.pipeline.clone(),
                });
            }
            tokio::time::sleep(LOCK_INTERVAL).await;
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
            reason: by.reason.clone().unwrap_or_default(),
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
        let differences = &self.config.differences;
        let mut home = Home::open(self.writer.client(), schema, Kind::Copy, differences).await?;
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
            let numbers = numbers.entry(table.table.clone()).or_default();
            numbers.inserted = u64::try_from(rows).unwrap_or_default();
        }
        self.note(found, &numbers).await?;
        Ok(self.outcome(found, found.to, numbers, Vec::new()))
    }

    /// Reads up to `limit` and writes what comes.
    pub(super) async fn read(
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

    pub(super) async fn source(&self, found: &Found) -> Result<Source, ReplayError> {
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

    pub(super) fn outcome(
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

    pub(super) async fn progress(&self) -> Result<Progress, ReplayError> {
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

    pub(super) async fn drop_schema(&self, schema: &str) -> Result<(), ReplayError> {
        let drop = format!("drop schema if exists {} cascade", quoted(schema));
        let dropped = self.client().batch_execute(&drop).await;
        dropped.map_err(step("drop the replay's schema"))
    }

    fn client(&self) -> &Client {
        self.writer.client()
    }
}

async fn lock(client: &Client, pipeline: &str) -> Result<bool, ReplayError> {
    let lock = "select pg_try_advisory_lock(hashtextextended('lockstep replay ' || $1, 0))";
    let row = client.query_one(lock, &[&pipeline]).await;
    Ok(row.map_err(step("lock"))?.get(0))
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
