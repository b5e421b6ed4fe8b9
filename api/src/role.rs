//! What differs between serving the primary and serving a replica.

use std::sync::Arc;

use change::Lsn;
use service::{Health, Shutdown};

use crate::articles::{ArticleId, Views};
use crate::config::{Config, Side};
use crate::database::Database;
use crate::http::{HeaderMap, Problem};
use crate::idempotency;
use crate::position;
use crate::replica::Replica;

/// What is served.
#[derive(Clone)]
pub(crate) enum Role {
    /// Takes writes, and counts views.
    Primary(Arc<Views>),
    /// Waits for what a read asks for. It counts no views: it cannot write.
    Replica(Arc<Replica>),
}

impl Role {
    pub(crate) fn of(side: &Side, config: &Config, health: &Health) -> Self {
        match side {
            Side::Primary(_) => Self::Primary(Arc::default()),
            Side::Replica(dsn) => Self::Replica(Arc::new(Replica::new(
                dsn.clone(),
                config.pipeline.clone(),
                health.clone(),
                config.api_wait_seconds,
            ))),
        }
    }

    pub(crate) fn takes_writes(&self) -> bool {
        matches!(self, Self::Primary(_))
    }

    pub(crate) fn count_view(&self, id: ArticleId) {
        if let Self::Primary(views) = self {
            views.count(id);
        }
    }

    /// Waits until what is read has the position that the request asks for, and answers the position
    /// that it has at least. A primary has all that it ever answered a position for.
    pub(crate) async fn reach(&self, headers: &HeaderMap) -> Result<Option<Lsn>, Problem> {
        let minimum = position::minimum(headers)?;
        match self {
            Self::Primary(_) => Ok(None),
            Self::Replica(replica) => replica.reach(minimum).await,
        }
    }

    /// Does what has to be done beside requests, until the stop.
    pub(crate) async fn attend(&self, stop: &Shutdown, database: &Database) {
        match self {
            Self::Primary(views) => {
                let sweep = idempotency::sweep_until(stop, database);
                tokio::join!(views.flush_until(stop, database), sweep);
            }
            Self::Replica(replica) => replica.watch(stop).await,
        }
    }

    /// Does what is left when the last request has ended.
    pub(crate) async fn finish(&self, database: &Database) {
        if let Self::Primary(views) = self {
            // Requests that ended while the server drained have counted views too.
            views.flush(database).await;
        }
    }
}
