//! A connection that stays, for what pages ask a database: a page of ten questions does not sign in
//! ten times. What changes something has a connection of its own, in the library that does it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use operate::endpoints::Database;
use service::postgres::{Connection, connect};
use tokio::sync::Mutex;
use tokio_postgres::Client;

pub(crate) struct Link {
    name: &'static str,
    database: Database,
    connection: Mutex<Option<Arc<Connection>>>,
}

/// A page rather says that a database does not answer than wait for longer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

impl Link {
    pub(crate) fn new(name: &'static str, database: Database) -> Self {
        Self {
            name,
            database,
            connection: Mutex::default(),
        }
    }

    /// Asks the database, in as much time as a page may take.
    ///
    /// # Errors
    /// When it cannot be reached, does not answer in time, or refuses.
    pub(crate) async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&Client) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let answer = async {
            let connection = self.connection().await?;
            question(&connection).await
        };
        let name = self.name;
        match tokio::time::timeout(ANSWER_LIMIT, answer).await {
            Ok(answer) => answer.with_context(|| format!("ask the {name}")),
            Err(_) => {
                // Nobody knows what its next answer would belong to.
                *self.connection.lock().await = None;
                Err(anyhow!(
                    "the {name} has not answered within {} s",
                    ANSWER_LIMIT.as_secs()
                ))
            }
        }
    }

    async fn connection(&self) -> anyhow::Result<Arc<Connection>> {
        let mut connection = self.connection.lock().await;
        if let Some(open) = connection.as_ref().filter(|open| !open.is_closed()) {
            return Ok(Arc::clone(open));
        }
        let opened = Arc::new(connect(&self.database, "lockstep console").await?);
        *connection = Some(Arc::clone(&opened));
        Ok(opened)
    }
}
