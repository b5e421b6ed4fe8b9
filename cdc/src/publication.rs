//! The publication: which tables are captured.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::error::Error;
use crate::history::SlotState;
use crate::source::SlotName;

/// Makes the publication, for all tables, unless it exists. It must exist before the slot: the
/// stream looks it up as it was at each change.
///
/// # Errors
/// When it is missing and our role may not make it.
pub(crate) async fn ensure(client: &Client, publication: &str) -> Result<(), Error> {
    let step = "look up the publication";
    let sql = "select 1 from pg_publication where pubname = $1";
    let found = client.query_opt(sql, &[&publication]).await;
    if found
        .map_err(|source| Error::Query { step, source })?
        .is_some()
    {
        return Ok(());
    }
    let name = change::quoted(publication);
    match client
        .batch_execute(&format!("create publication {name} for all tables"))
        .await
    {
        Ok(()) => {
            tracing::info!(publication, "made the publication for all tables");
            Ok(())
        }
        // Somebody else was faster.
        Err(error) if error.code() == Some(&SqlState::DUPLICATE_OBJECT) => Ok(()),
        Err(source) if source.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            Err(Error::Publication {
                publication: publication.to_owned(),
                source,
            })
        }
        Err(source) => Err(Error::Query {
            step: "make the publication",
            source,
        }),
    }
}

/// Whether the slot exists.
///
/// # Errors
/// When the source does not answer.
pub(crate) async fn slot_state(client: &Client, slot: &SlotName) -> Result<SlotState, Error> {
    let sql = "select coalesce(wal_status, '') = 'lost' from pg_replication_slots \
               where slot_name = $1";
    let found = client.query_opt(sql, &[&slot.as_str()]).await;
    match found.map_err(|source| Error::Query {
        step: "look up the slot",
        source,
    })? {
        Some(row) if row.get(0) => Ok(SlotState::Lost),
        Some(_) => Ok(SlotState::Exists),
        None => Ok(SlotState::Missing),
    }
}
