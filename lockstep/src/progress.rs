//! How far the target is.

use anyhow::Context;
use change::Lsn;
use tokio_postgres::Client;

/// What the target's progress row says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub(crate) commit_lsn: Lsn,
    pub(crate) epoch: i64,
}

/// `None` while nothing was applied.
///
/// # Errors
/// When the target cannot be asked.
pub(crate) async fn read(target: &Client) -> anyhow::Result<Option<Progress>> {
    const STEP: &str = "read the target's progress";
    let there = "select to_regclass('lockstep.progress') is not null";
    if !target
        .query_one(there, &[])
        .await
        .context(STEP)?
        .get::<_, bool>(0)
    {
        return Ok(None);
    }
    let query = "select commit_lsn::text, epoch from lockstep.progress limit 1";
    let Some(row) = target.query_opt(query, &[]).await.context(STEP)? else {
        return Ok(None);
    };
    Ok(Some(Progress {
        commit_lsn: row.get::<_, &str>(0).parse()?,
        epoch: row.get(1),
    }))
}
