//! Where source and target meet.

use std::time::Duration;

use anyhow::{Context, bail};
use change::Lsn;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use crate::progress;

/// Between two looks at the target: short beside the time that hashing takes.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Emits a heartbeat on the source and waits until the target has applied everything before it.
/// Returns the heartbeat's LSN. `report` is told, with each look, how many bytes are missing.
///
/// # Errors
/// When a side cannot be asked, or the target is not there within `deadline`.
pub async fn meet(
    source: &Client,
    target: &Client,
    pipeline: &str,
    deadline: Duration,
    mut report: impl FnMut(u64),
) -> anyhow::Result<Lsn> {
    // The message is what capture reports as the end of what it read, however quiet the source is.
    let emit = "select pg_logical_emit_message(false, 'lockstep.heartbeat', '')::text";
    let row = source.query_one(emit, &[]).await;
    let lsn: Lsn = row
        .context("emit a heartbeat on the source")?
        .get::<_, &str>(0)
        .parse()?;
    let end = Instant::now() + deadline;
    loop {
        let applied = progress::read(target, pipeline)
            .await?
            .map(|it| it.commit_lsn);
        match applied {
            Some(applied) if applied >= lsn => return Ok(lsn),
            Some(applied) => report(lsn.bytes_since(applied)),
            None => {}
        }
        if Instant::now() >= end {
            let stands = match applied {
                Some(applied) => format!("it stands at {applied}"),
                None => "it has applied nothing yet".to_owned(),
            };
            bail!(
                "the target has not reached {lsn} within {} s: {stands}; \
                 see `lockstep status`, or raise --deadline",
                deadline.as_secs()
            );
        }
        sleep(LOOK_INTERVAL).await;
    }
}
