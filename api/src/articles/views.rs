//! Counts views in memory and adds them up in DB1 once a second: reading an article never waits
//! for a write, and a thousand reads are one row version.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use service::Shutdown;
use service::postgres::describe;
use tokio::time::timeout;

use super::model::ArticleId;
use super::store;
use crate::database::{Database, QueryError};

/// Views that DB1 does not know of yet.
#[derive(Debug, Default)]
pub(crate) struct Views(Mutex<HashMap<ArticleId, i64>>);

const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// How many articles are kept count of while DB1 is away; views of more are lost.
const ARTICLES: usize = 100_000;

impl Views {
    pub(crate) fn count(&self, id: ArticleId) {
        add(&mut self.pending(), id, 1);
    }

    /// Flushes every second until the stop.
    pub(crate) async fn flush_until(&self, stop: &Shutdown, database: &Database) {
        while !stop.is_requested() {
            tokio::select! {
                biased;
                () = stop.requested() => {}
                () = tokio::time::sleep(FLUSH_INTERVAL) => {}
            }
            self.flush(database).await;
        }
    }

    /// Adds what was counted to DB1, or keeps it for the next time.
    pub(crate) async fn flush(&self, database: &Database) {
        let counted = std::mem::take(&mut *self.pending());
        if counted.is_empty() {
            return;
        }
        let ids: Vec<i64> = counted.keys().map(|id| id.number()).collect();
        let views: Vec<i64> = counted.values().copied().collect();
        let flushed = timeout(FLUSH_LIMIT, store::add_views(database, &ids, &views)).await;
        match flushed {
            Ok(Ok(())) => return,
            // That the database is away is logged where it is noticed.
            Ok(Err(QueryError::Exhausted | QueryError::Away | QueryError::TimedOut)) => {}
            // It may have been done: a view too many is better than the views of a second lost.
            Err(_) => {}
            Ok(Err(QueryError::Failed(error))) => {
                tracing::warn!(error = describe(&error), "count views");
            }
        }
        let mut pending = self.pending();
        for (id, views) in counted {
            add(&mut pending, id, views);
        }
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<ArticleId, i64>> {
        // A map of counts is whole at any moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(pending: &mut HashMap<ArticleId, i64>, id: ArticleId, views: i64) {
    if pending.len() < ARTICLES || pending.contains_key(&id) {
        let count = pending.entry(id).or_default();
        *count = count.saturating_add(views);
    }
}
