//! The way to the database: a pool of connections, and whether it leads there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
    TimeoutType, Timeouts,
};
use service::postgres::{ConnectError, TlsError, connect, describe, tls_connector};
use service::{Backoff, Health, Shutdown, chain};
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::config::{Config, Side};
use crate::migrations::{MigrateError, migrate};

/// Connections to DB1, or to DB2 for a replica.
pub(crate) struct Database {
    side: Side,
    pool: Pool,
    health: Health,
    /// Whether the schema is known to be there.
    prepared: AtomicBool,
    /// Whether the last attempt reached it; a change of it is logged, not every failure.
    reached: AtomicBool,
}

const APPLICATION_NAME: &str = "lockstep api";

/// How long a request waits for a free connection before it is told to come back.
const WAIT_LIMIT: Duration = Duration::from_secs(2);

/// How long a new connection may take; under the wait of most proxies in front of us.
const CREATE_LIMIT: Duration = Duration::from_secs(5);

/// How often an idle service looks whether the database is still there.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// Why the service cannot use its database until a human helps.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("prepare TLS")]
    Tls(#[from] TlsError),
    #[error("build the pool of connections")]
    Pool(#[from] deadpool_postgres::BuildError),
    #[error(transparent)]
    Connect(ConnectError),
    #[error("bring the schema up to date")]
    Migrate(#[source] MigrateError),
    #[error("look for the articles on the target")]
    Look(#[source] tokio_postgres::Error),
    #[error("the target has no {0} yet: `lockstep setup` makes it, from what the source has")]
    Missing(&'static str),
}

/// Why a request's statement did not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueryError {
    /// All connections are busy.
    #[error("all connections are busy")]
    Exhausted,
    /// It cannot be reached, or is not ready for us.
    #[error("the database is away")]
    Away,
    /// It took longer than a statement may.
    #[error("the statement took too long")]
    TimedOut,
    /// Everything else, which is a defect of this service or of the schema.
    #[error("run statement")]
    Failed(#[source] tokio_postgres::Error),
}

impl Database {
    pub(crate) fn new(side: Side, config: &Config, health: Health) -> Result<Self, DatabaseError> {
        let dsn = side.dsn();
        let recycling_method = RecyclingMethod::Fast;
        let manager = Manager::from_config(
            dsn.tokio_config(APPLICATION_NAME),
            tls_connector(dsn)?,
            ManagerConfig { recycling_method },
        );
        let pool = Pool::builder(manager)
            .max_size(usize::from(config.api_connections))
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(WAIT_LIMIT.min(config.api_timeout_seconds / 2)),
                create: Some(CREATE_LIMIT),
                recycle: Some(CREATE_LIMIT),
            })
            .post_create(set_up(&side, config.api_timeout_seconds))
            .build()?;
        health.set(side.name(), Err("not connected yet".to_owned()));
        Ok(Self {
            side,
            pool,
            health,
            prepared: AtomicBool::new(false),
            reached: AtomicBool::new(true),
        })
    }

    /// A connection for one request.
    pub(crate) async fn client(&self) -> Result<Object, QueryError> {
        if !self.prepared.load(Ordering::Acquire) {
            return Err(QueryError::Away);
        }
        match self.pool.get().await {
            Ok(client) => {
                self.found();
                Ok(client)
            }
            Err(PoolError::Timeout(TimeoutType::Wait)) => Err(QueryError::Exhausted),
            Err(error) => {
                self.lost(&pool_failure(&error));
                Err(QueryError::Away)
            }
        }
    }

    /// Whether the database answers now, within `limit`.
    pub(crate) async fn ping(&self, limit: Duration) -> Result<(), QueryError> {
        let ask = async {
            let client = self.client().await?;
            client.batch_execute("").await.map_err(QueryError::from)
        };
        timeout(limit, ask)
            .await
            .unwrap_or(Err(QueryError::TimedOut))
    }

    /// Sees that the schema is there, then watches whether the database is, until a stop.
    pub(crate) async fn keep(&self, stop: &Shutdown) -> Result<(), DatabaseError> {
        let mut backoff = Backoff::default();
        while !stop.is_requested() {
            match self.prepare().await {
                Ok(()) => break,
                Err(error) if error.is_transient() => {
                    self.lost(&chain(&error));
                    backoff.pause(stop).await;
                }
                Err(error) => return Err(error),
            }
        }
        while !stop.is_requested() {
            if let Err(error @ (QueryError::TimedOut | QueryError::Failed(_))) =
                self.ping(CREATE_LIMIT).await
            {
                self.lost(&chain(&error));
            }
            tokio::select! {
                biased;
                () = stop.requested() => {}
                () = tokio::time::sleep(PROBE_INTERVAL) => {}
            }
        }
        Ok(())
    }

    /// A primary's schema is brought up to date; a replica's is made by others.
    async fn prepare(&self) -> Result<(), DatabaseError> {
        let client = connect(self.side.dsn(), APPLICATION_NAME)
            .await
            .map_err(DatabaseError::Connect)?;
        match self.side {
            Side::Primary(_) => migrate(&client).await.map_err(DatabaseError::Migrate)?,
            Side::Replica(_) => require_articles(&client).await?,
        }
        self.prepared.store(true, Ordering::Release);
        self.found();
        Ok(())
    }

    fn found(&self) {
        self.health.set(self.side.name(), Ok(()));
        if !self.reached.swap(true, Ordering::AcqRel) {
            tracing::info!(database = %self.side.dsn(), "database is back");
        }
    }

    fn lost(&self, cause: &str) {
        self.health.set(self.side.name(), Err(cause.to_owned()));
        if self.reached.swap(false, Ordering::AcqRel) {
            let database = self.side.dsn();
            tracing::warn!(%database, cause, "database is away, answering 503 until it is back");
        }
    }
}

/// Statements end before their request does, so that none runs on for nobody.
fn set_up(side: &Side, request: Duration) -> Hook {
    let milliseconds = (request.as_millis() * 9 / 10).max(1);
    let read_only = side.is_replica();
    let sql = format!(
        "set statement_timeout = {milliseconds}; set lock_timeout = {milliseconds}; \
         set idle_in_transaction_session_timeout = {milliseconds}; \
         set default_transaction_read_only = {read_only}"
    );
    Hook::async_fn(move |client, _| {
        let sql = sql.clone();
        Box::pin(async move { client.batch_execute(&sql).await.map_err(HookError::Backend) })
    })
}

/// What a replica is read through.
async fn require_articles(client: &Client) -> Result<(), DatabaseError> {
    let sql = "select to_regclass('articles') is not null";
    let row = client
        .query_one(sql, &[])
        .await
        .map_err(DatabaseError::Look)?;
    match row.get(0) {
        true => Ok(()),
        false => Err(DatabaseError::Missing("table articles")),
    }
}

fn pool_failure(error: &PoolError) -> String {
    match error {
        PoolError::Backend(error) => describe(error),
        PoolError::Timeout(_) => "no connection in time".to_owned(),
        error => chain(error),
    }
}

impl DatabaseError {
    fn is_transient(&self) -> bool {
        match self {
            Self::Tls(_) | Self::Pool(_) => false,
            Self::Connect(error) => error.is_transient(),
            Self::Migrate(error) => QueryError::of(error.cause()).is_some(),
            Self::Look(error) => QueryError::of(error).is_some(),
            // Apply may make it any moment.
            Self::Missing(_) => true,
        }
    }
}

impl QueryError {
    /// What passes by itself; none for a defect.
    fn of(error: &tokio_postgres::Error) -> Option<Self> {
        let Some(code) = error.code() else {
            // The server said nothing: the connection broke, before or while we asked.
            let broken = error.is_closed() || caused_by_io(error);
            return broken.then_some(Self::Away);
        };
        match *code {
            SqlState::QUERY_CANCELED | SqlState::LOCK_NOT_AVAILABLE => Some(Self::TimedOut),
            SqlState::ADMIN_SHUTDOWN
            | SqlState::CRASH_SHUTDOWN
            | SqlState::CANNOT_CONNECT_NOW
            | SqlState::TOO_MANY_CONNECTIONS
            | SqlState::READ_ONLY_SQL_TRANSACTION
            | SqlState::T_R_SERIALIZATION_FAILURE
            | SqlState::T_R_DEADLOCK_DETECTED => Some(Self::Away),
            _ => None,
        }
    }
}

fn caused_by_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}

impl From<tokio_postgres::Error> for QueryError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::of(&error).unwrap_or(Self::Failed(error))
    }
}
