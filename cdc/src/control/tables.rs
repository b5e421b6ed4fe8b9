//! Capture's own tables on the source.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::error::Error;

/// Makes the tables; running it again changes nothing.
pub const SQL: &str = include_str!("../../../sql/source/capture.sql");

/// Whether there are tables by which operators say what they want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tables {
    There,
    /// Our role may not make or use them: capture runs, and can neither be paused nor asked to read
    /// a table again, and a first snapshot that is interrupted begins anew.
    Missing,
}

/// Makes the tables unless they are there.
///
/// # Errors
/// When the source does not answer.
pub(crate) async fn ensure(client: &Client) -> Result<Tables, Error> {
    let failed = |source| Error::Query {
        step: "make the tables of capture",
        source,
    };
    match client.batch_execute(SQL).await {
        Ok(()) => return Ok(Tables::There),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {}
        Err(error) => return Err(failed(error)),
    }
    // Somebody with more rights may have made them for us.
    let usable = client.query_one(USABLE, &[]).await.map_err(failed)?;
    if usable.get(0) {
        return Ok(Tables::There);
    }
    tracing::warn!(
        "capture cannot be paused, nor asked for a snapshot of a table: its role may not use the \
         tables for that; let `lockstep setup` make them, then `grant usage on schema lockstep` \
         and `grant select, insert, update, delete on lockstep.capture, lockstep.snapshots, \
         lockstep.first_snapshots, lockstep.first_snapshot_chunks, lockstep.refused_tables` to the \
         role"
    );
    Ok(Tables::Missing)
}

const USABLE: &str = "
select coalesce(has_schema_privilege(to_regnamespace('lockstep'), 'usage')
                and has_table_privilege(to_regclass('lockstep.capture'), 'select')
                and has_table_privilege(to_regclass('lockstep.snapshots'), 'select')
                and has_table_privilege(to_regclass('lockstep.snapshots'), 'update')
                and has_table_privilege(to_regclass('lockstep.first_snapshots'), 'insert')
                and has_table_privilege(to_regclass('lockstep.first_snapshot_chunks'), 'insert'), false)";
