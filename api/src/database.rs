//! The way to DB1: a pool of connections, and whether it leads there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
    TimeoutType, Timeouts,
};
use service::postgres::{ConnectError, Dsn, TlsError, connect, describe, tls_connector};
use service::{Backoff, Health, Shutdown, chain};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;

use crate::config::Config;
use crate::migrations::{MigrateError, migrate};

/// Connections to DB1.
pub(crate) struct Database {
    dsn: Dsn,
    pool: Pool,
    health: Health,
    /// Whether the schema is known to be there.
    migrated: AtomicBool,
    /// Whether the last attempt reached DB1; a change of it is logged, not every failure.
    reached: AtomicBool,
}

/// What the database is called where health is shown.
pub(crate) const DEPENDENCY: &str = "source";

const APPLICATION_NAME: &str = "lockstep api";

/// How long a request waits for a free connection before it is told to come back.
const WAIT_LIMIT: Duration = Duration::from_secs(2);

/// How long a new connection may take; under the wait of most proxies in front of us.
const CREATE_LIMIT: Duration = Duration::from_secs(5);

/// How often an idle service looks whether DB1 is still there.
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
}

/// Why a request's statement did not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueryError {
    /// All connections are busy.
    #[error("all connections are busy")]
    Exhausted,
    /// DB1 cannot be reached, or is not ready for us.
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
    pub(crate) fn new(config: &Config, health: Health) -> Result<Self, DatabaseError> {
        let dsn = config.source.clone();
        let recycling_method = RecyclingMethod::Fast;
        let manager = Manager::from_config(
            dsn.tokio_config(APPLICATION_NAME),
            tls_connector(&dsn)?,
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
            .post_create(limit_statements(config.api_timeout_seconds))
            .build()?;
        health.set(DEPENDENCY, Err("not connected yet".to_owned()));
        Ok(Self {
            dsn,
            pool,
            health,
            migrated: AtomicBool::new(false),
            reached: AtomicBool::new(true),
        })
    }

    /// A connection for one request.
    pub(crate) async fn client(&self) -> Result<Object, QueryError> {
        if !self.migrated.load(Ordering::Acquire) {
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

    /// Whether DB1 answers now, within `limit`.
    pub(crate) async fn ping(&self, limit: Duration) -> Result<(), QueryError> {
        let ask = async {
            let client = self.client().await?;
            client.batch_execute("").await.map_err(QueryError::from)
        };
        timeout(limit, ask)
            .await
            .unwrap_or(Err(QueryError::TimedOut))
    }

    /// Brings the schema up to date, then watches whether DB1 is there, until a stop.
    pub(crate) async fn keep(&self, stop: &Shutdown) -> Result<(), DatabaseError> {
        let mut backoff = Backoff::default();
        while !stop.is_requested() {
            match self.migrate().await {
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

    async fn migrate(&self) -> Result<(), DatabaseError> {
        let client = connect(&self.dsn, APPLICATION_NAME)
            .await
            .map_err(DatabaseError::Connect)?;
        migrate(&client).await.map_err(DatabaseError::Migrate)?;
        self.migrated.store(true, Ordering::Release);
        self.found();
        Ok(())
    }

    fn found(&self) {
        self.health.set(DEPENDENCY, Ok(()));
        if !self.reached.swap(true, Ordering::AcqRel) {
            tracing::info!(source = %self.dsn, "database is back");
        }
    }

    fn lost(&self, cause: &str) {
        self.health.set(DEPENDENCY, Err(cause.to_owned()));
        if self.reached.swap(false, Ordering::AcqRel) {
            tracing::warn!(source = %self.dsn, cause, "database is away, answering 503 until it is back");
        }
    }
}

/// Statements end before their request does, so that none runs on for nobody.
fn limit_statements(request: Duration) -> Hook {
    let milliseconds = (request.as_millis() * 9 / 10).max(1);
    let sql = format!(
        "set statement_timeout = {milliseconds}; set lock_timeout = {milliseconds}; \
         set idle_in_transaction_session_timeout = {milliseconds}"
    );
    Hook::async_fn(move |client, _| {
        let sql = sql.clone();
        Box::pin(async move { client.batch_execute(&sql).await.map_err(HookError::Backend) })
    })
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
