//! How far a replica is: `lockstep.progress`, which apply moves in the transaction that moves the rows.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use change::Lsn;
use chrono::{DateTime, Utc};
use service::postgres::{Connection, Dsn, connect, describe};
use service::{Backoff, Health, Shutdown, chain};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::PgLsn;

use crate::http::Problem;
use crate::position;

/// What apply says of the replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    /// Everything that the primary committed up to here is on the replica.
    pub(crate) position: Lsn,
    /// Whether readers see only states that the primary had: the first snapshot is complete.
    pub(crate) is_streaming: bool,
    pub(crate) committed_at: DateTime<Utc>,
    pub(crate) applied_at: DateTime<Utc>,
}

/// Watches a pipeline's progress for all requests: they wait here, and hold no connection meanwhile.
pub(crate) struct Replica {
    dsn: Dsn,
    pipeline: String,
    health: Health,
    applied: watch::Sender<Option<Applied>>,
    waiting: AtomicUsize,
    arrived: Notify,
    patience: Duration,
}

/// What the progress is called where health is shown.
const DEPENDENCY: &str = "replication";

/// Between two looks while a request waits. A look takes a tenth of that.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// Between two looks while nobody waits: how old the position is that others are told.
const IDLE_INTERVAL: Duration = Duration::from_millis(100);

/// A look that takes longer has lost its connection.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

impl Replica {
    /// Requests wait `patience` at most.
    pub(crate) fn new(dsn: Dsn, pipeline: String, health: Health, patience: Duration) -> Self {
        health.set(DEPENDENCY, Err("not looked yet".to_owned()));
        Self {
            dsn,
            pipeline,
            health,
            applied: watch::Sender::new(None),
            waiting: AtomicUsize::new(0),
            arrived: Notify::new(),
            patience,
        }
    }

    pub(crate) fn applied(&self) -> Option<Applied> {
        self.applied.borrow().clone()
    }

    /// Waits until everything up to `minimum` is applied, and answers how far the replica is then.
    pub(crate) async fn reach(&self, minimum: Option<Lsn>) -> Result<Option<Lsn>, Problem> {
        let Some(minimum) = minimum else {
            let applied = self.applied().filter(|applied| applied.is_streaming);
            return Ok(applied.map(|applied| applied.position));
        };
        let mut applied = self.applied.subscribe();
        let is_there = |applied: &Option<Applied>| {
            applied
                .as_ref()
                .is_some_and(|it| it.is_streaming && it.position >= minimum)
        };
        if !is_there(&applied.borrow()) {
            let _waiter = Waiter::new(self);
            // Whatever came of it shows below.
            _ = timeout(self.patience, applied.wait_for(is_there)).await;
        }
        let now = applied.borrow().clone();
        let streaming = now.as_ref().filter(|it| it.is_streaming);
        match is_there(&now) {
            true => Ok(streaming.map(|it| it.position)),
            false => Err(position::behind(streaming.map(|it| it.position), minimum)),
        }
    }

    /// Looks until the stop: often while somebody waits.
    pub(crate) async fn watch(&self, stop: &Shutdown) {
        let mut backoff = Backoff::default();
        while !stop.is_requested() {
            let lost = tokio::select! {
                biased;
                () = stop.requested() => return,
                lost = self.look_on(&mut backoff) => lost,
            };
            tracing::warn!(target = %self.dsn, error = lost, "cannot see how far the replica is");
            self.health.set(DEPENDENCY, Err(lost));
            // What was known says too little from now on, but nothing wrong: progress never falls.
            backoff.pause(stop).await;
        }
    }

    /// Returns why it could not go on.
    async fn look_on(&self, backoff: &mut Backoff) -> String {
        let connection = match connect(&self.dsn, "lockstep api").await {
            Ok(connection) => connection,
            Err(error) => return chain(&error),
        };
        loop {
            match timeout(LOOK_LIMIT, self.look(&connection)).await {
                Ok(Ok(applied)) => self.publish(applied),
                Ok(Err(error)) => return describe(&error),
                Err(_) => return "the target does not answer".to_owned(),
            }
            backoff.reset();
            let pause = match self.waiting.load(Ordering::Acquire) {
                0 => IDLE_INTERVAL,
                _ => LOOK_INTERVAL,
            };
            // Who arrives does not wait for the pause to end.
            _ = timeout(pause, self.arrived.notified()).await;
        }
    }

    async fn look(
        &self,
        connection: &Connection,
    ) -> Result<Option<Applied>, tokio_postgres::Error> {
        let row = match connection.query_opt(PROGRESS, &[&self.pipeline]).await {
            // Apply makes the table when it first starts.
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => None,
            row => row?,
        };
        Ok(row.map(|row| Applied {
            position: Lsn::new(u64::from(row.get::<_, PgLsn>(0))),
            is_streaming: row.get(1),
            committed_at: row.get(2),
            applied_at: row.get(3),
        }))
    }

    fn publish(&self, applied: Option<Applied>) {
        let state = match &applied {
            None => Err("apply has applied nothing yet".to_owned()),
            Some(applied) if !applied.is_streaming => {
                Err("the first snapshot is not complete".to_owned())
            }
            Some(_) => Ok(()),
        };
        self.health.set(DEPENDENCY, state);
        self.applied.send_if_modified(|known| {
            let changed = *known != applied;
            *known = applied;
            changed
        });
    }
}

const PROGRESS: &str = "select commit_lsn, phase = 'streaming', commit_time, applied_at \
                        from lockstep.progress where pipeline = $1";

/// A request that waits: as long as there is one, looks are frequent.
struct Waiter<'a>(&'a Replica);

impl<'a> Waiter<'a> {
    fn new(replica: &'a Replica) -> Self {
        replica.waiting.fetch_add(1, Ordering::AcqRel);
        replica.arrived.notify_one();
        Self(replica)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
