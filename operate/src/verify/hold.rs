//! Apply, held at a border between two transactions.
//!
//! The hold is a row on the target that ends by itself: who set it may die. It moves forward only,
//! and stays as short as its limit by being renewed. No transaction is open while it stands: where
//! both databases are in one cluster, an open one would keep the source's slot from being made.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use applier::control;
use applier::progress::{Phase, Progress};
use change::Lsn;
use tokio::time::{Instant, sleep};
use tokio_postgres::types::PgLsn;
use tokio_postgres::{Client, Transaction};

use crate::progress;

/// Between two looks at whether apply is there: short beside what the rest of a hold takes.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// Between two looks at whether somebody else's hold has ended.
const OTHER_INTERVAL: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Hold<'a> {
    target: &'a mut Client,
    pipeline: &'a str,
    limits: Limits,
    lsn: Lsn,
    since: Instant,
    renewed: Instant,
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long apply may be held without having anything to do.
    pub hold: Duration,
    /// How long may be waited for apply: to end its transaction, and to catch up.
    pub deadline: Duration,
}

impl<'a> Hold<'a> {
    /// Holds apply where it is once its transaction in flight has ended, and the hold of anybody
    /// else.
    ///
    /// # Errors
    /// When apply is in no state to be compared with: nothing applied, the first snapshot not
    /// complete, paused.
    pub(super) async fn begin(
        target: &'a mut Client,
        pipeline: &'a str,
        limits: Limits,
    ) -> anyhow::Result<Self> {
        let end = Instant::now() + limits.deadline;
        loop {
            let transaction = target.transaction().await.context("begin on the target")?;
            let progress = taken(&transaction, pipeline, limits.deadline).await?;
            let since = Instant::now();
            let other = current_hold(&transaction, pipeline).await?;
            let Some(other) = other else {
                let lsn = Lsn::new(progress.commit_lsn.as_u64() + 1);
                set(&transaction, pipeline, lsn, limits.hold).await?;
                transaction.commit().await.context("hold apply")?;
                return Ok(Self {
                    target,
                    pipeline,
                    limits,
                    lsn,
                    since,
                    renewed: since,
                });
            };
            transaction.rollback().await.context("end a transaction")?;
            ensure!(
                Instant::now() < end,
                "apply is held at {other} by another command that compares or replays"
            );
            sleep(OTHER_INTERVAL).await;
        }
    }

    pub(super) fn pipeline(&self) -> &'a str {
        self.pipeline
    }

    /// Lets apply go on up to `lsn`, and no further.
    pub(super) async fn move_to(&mut self, lsn: Lsn) -> anyhow::Result<()> {
        let before = self.lsn;
        let transaction = self.target.transaction().await?;
        let progress = taken(&transaction, self.pipeline, self.limits.deadline).await?;
        // Ours may be over: apply's transaction that was waited for began while it stood.
        let other = current_hold(&transaction, self.pipeline).await?;
        ensure!(
            other.is_none_or(|other| other == before),
            "the hold of apply ended early, and another has begun: raise --hold-limit"
        );
        ensure!(
            progress.commit_lsn < lsn,
            "the target stands at {} and was to be held before {lsn}: raise --hold-limit, and see \
             whether it follows this source",
            progress.commit_lsn
        );
        set(&transaction, self.pipeline, lsn, self.limits.hold).await?;
        transaction.commit().await.context("move the hold")?;
        (self.lsn, self.renewed) = (lsn, Instant::now());
        Ok(())
    }

    /// Waits until all before the hold's LSN is on the target. `say` is told how many bytes of log
    /// are missing.
    pub(super) async fn reached(&mut self, say: &mut impl FnMut(u64)) -> anyhow::Result<()> {
        let (goal, end) = (
            self.lsn.just_before(),
            Instant::now() + self.limits.deadline,
        );
        loop {
            let progress = progress::read(self.target, self.pipeline).await?;
            let applied = progress.map_or(Lsn::ZERO, |progress| progress.commit_lsn);
            if applied >= goal {
                ensure!(applied == goal, "apply went on beyond {}", self.lsn);
                return Ok(());
            }
            say(goal.bytes_since(applied));
            if Instant::now() >= end {
                bail!(
                    "the target has not reached {} within {} s: it stands at {applied}; \
                     see `lockstep status`, or raise --deadline",
                    self.lsn,
                    self.limits.deadline.as_secs()
                );
            }
            if self.renewed.elapsed() > self.limits.hold / 3 {
                self.move_to(self.lsn).await?;
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Begins the transaction that changes rows at the hold's LSN, and ends the hold with it. While
    /// it is open nothing is applied, even should the hold's time run out.
    pub(super) async fn transaction(&mut self) -> anyhow::Result<Transaction<'_>> {
        let transaction = self.target.transaction().await?;
        let progress = taken(&transaction, self.pipeline, self.limits.deadline).await?;
        ensure!(
            progress.commit_lsn == self.lsn.just_before(),
            "the hold of apply ended early: raise --hold-limit"
        );
        clear(&transaction, self.pipeline, self.lsn).await?;
        Ok(transaction)
    }

    /// Lets apply go on. Answers how long it was held.
    pub(super) async fn release(self) -> anyhow::Result<Duration> {
        let transaction = self.target.transaction().await?;
        control::take(&transaction, self.pipeline).await?;
        clear(&transaction, self.pipeline, self.lsn).await?;
        transaction.commit().await.context("end the hold")?;
        Ok(self.since.elapsed())
    }
}

/// The progress of a pipeline that can be compared with, kept until the transaction ends.
async fn taken(
    transaction: &Transaction<'_>,
    pipeline: &str,
    patience: Duration,
) -> anyhow::Result<Progress> {
    let limit = format!("set local lock_timeout = {}", patience.as_millis());
    transaction.batch_execute(&limit).await?;
    let progress = control::take(transaction, pipeline).await;
    let progress = progress.context(
        "hold apply (it may be in a long transaction: see `lockstep status`, or raise --deadline)",
    )?;
    let Some(progress) = progress else {
        bail!("the target has applied nothing yet: is the applier of pipeline {pipeline} running?");
    };
    ensure!(
        progress.phase == Phase::Streaming,
        "the first snapshot is not complete: until then the target holds no state of the source"
    );
    let paused =
        "select coalesce(bool_or(paused), false) from lockstep.control where pipeline = $1";
    let paused: bool = transaction.query_one(paused, &[&pipeline]).await?.get(0);
    ensure!(!paused, "apply is paused: `lockstep resume apply`");
    Ok(progress)
}

/// What holds apply at present, whoever set it.
async fn current_hold(
    transaction: &Transaction<'_>,
    pipeline: &str,
) -> anyhow::Result<Option<Lsn>> {
    let sql = "select hold_lsn from lockstep.control
                where pipeline = $1 and hold_until > clock_timestamp()";
    let row = transaction.query_opt(sql, &[&pipeline]).await;
    let row = row.context("look for a hold")?;
    Ok(row.map(|row| Lsn::new(row.get::<_, PgLsn>(0).into())))
}

async fn set(
    transaction: &Transaction<'_>,
    pipeline: &str,
    lsn: Lsn,
    limit: Duration,
) -> anyhow::Result<()> {
    let sql = "insert into lockstep.control (pipeline, hold_lsn, hold_until)
               values ($1, $2, clock_timestamp() + make_interval(secs => $3))
               on conflict (pipeline) do update
               set hold_lsn = excluded.hold_lsn, hold_until = excluded.hold_until";
    let (lsn, seconds) = (PgLsn::from(lsn.as_u64()), limit.as_secs_f64());
    let set = transaction.execute(sql, &[&pipeline, &lsn, &seconds]).await;
    set.context("set the hold")?;
    Ok(())
}

/// Of nobody else's hold: ours may have ended, and another begun.
async fn clear(transaction: &Transaction<'_>, pipeline: &str, lsn: Lsn) -> anyhow::Result<()> {
    let sql = "update lockstep.control set hold_lsn = null, hold_until = null
                where pipeline = $1 and hold_lsn = $2";
    let lsn = PgLsn::from(lsn.as_u64());
    let cleared = transaction.execute(sql, &[&pipeline, &lsn]).await;
    cleared.context("clear the hold")?;
    Ok(())
}
