//! Capture, held in the middle of a first snapshot.

use tokio_postgres::Client;

use crate::postgres::Connection;
use crate::wait;

/// Keeps capture from noting more than some chunks. It goes on when this is dropped.
pub struct LedgerHold {
    /// Has the lock that capture waits for.
    _holder: Connection,
}

impl LedgerHold {
    /// Lets capture note chunks until there are `notes`, on a source that has its tables.
    ///
    /// # Panics
    /// When the source has no such tables, or does not answer.
    pub async fn at(holder: Connection, notes: u32) -> Self {
        let sql = format!(
            "create or replace function lockstep.hold() returns trigger language plpgsql as $$
             begin
                 if (select count(*) from lockstep.first_snapshot_chunks) >= {notes} then
                     perform pg_advisory_xact_lock({KEY});
                 end if;
                 return null;
             end $$;
             create or replace trigger hold before insert on lockstep.first_snapshot_chunks
                 for each statement execute function lockstep.hold();
             select pg_advisory_lock({KEY})"
        );
        holder
            .batch_execute(&sql)
            .await
            .expect("hold the ledger of a first snapshot");
        Self { _holder: holder }
    }
}

const KEY: i64 = 7_331;

/// Waits until capture waits to note more.
///
/// # Panics
/// When it does not in time.
pub async fn held(source: &Client) {
    wait::until("capture waits to note chunks", async || {
        let waiters = source.query(WAITERS, &[]).await.expect("ask who waits");
        match waiters.is_empty() {
            true => Err("it does not"),
            false => Ok(()),
        }
    })
    .await;
}

/// Ends what a capture that was killed has left waiting on the source.
///
/// # Panics
/// When the source does not answer.
pub async fn end_waiting(source: &Client) {
    let end = format!("select pg_terminate_backend(pid) from ({WAITERS}) as w");
    source.execute(&end, &[]).await.expect("end who waits");
}

const WAITERS: &str = "
select pid from pg_stat_activity
 where datname = current_database() and wait_event = 'advisory'
   and query like '%first_snapshot_chunks%'";
