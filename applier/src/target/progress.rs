//! Moving the pipeline's progress in the transaction that moves its rows.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_postgres::error::SqlState;
use tokio_postgres::types::{PgLsn, ToSql};
use tokio_postgres::{Client, Statement};

use crate::error::StatementError;
use crate::progress::Mark;

/// The statements that move progress.
pub(super) struct ProgressStatements {
    first: Statement,
    next: Statement,
    hold: Statement,
}

const FIRST: &str = "insert into lockstep.progress (pipeline, epoch, commit_lsn, commits_offset, \
    system_id, timeline, slot, phase, commit_time, chain_lsn, applied_at) \
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, clock_timestamp())";

/// Divides by zero when no row is where this applier left it, so that the transaction fails and
/// with it the commit that is already on its way.
const NEXT: &str = "with moved as (update lockstep.progress set epoch = $2, commit_lsn = $3, \
    commits_offset = $4, system_id = $5, timeline = $6, slot = $7, phase = $8, commit_time = $9, \
    chain_lsn = $10, applied_at = clock_timestamp() \
    where pipeline = $1 and commit_lsn = $11 and commits_offset = $12 and epoch <= $2 \
    returning 1) select 1 / count(*) from moved";

/// First in each transaction, before any row of a table: as [`crate::control`] says. A second applier
/// waits here, and finds out before it has done anything.
const HOLD: &str = "with held as (select 1 from lockstep.progress where pipeline = $1 \
    and commit_lsn = $2 and commits_offset = $3 and control = $4 for update) \
    select 1 / count(*) from held";

/// Whether a failure of these statements means that somebody else moved the progress.
pub(super) fn is_fenced(error: &StatementError) -> bool {
    let fenced = [SqlState::DIVISION_BY_ZERO, SqlState::UNIQUE_VIOLATION];
    error.code().is_some_and(|code| fenced.contains(code))
}

impl ProgressStatements {
    pub(super) async fn prepare(client: &Client) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            first: client.prepare(FIRST).await?,
            next: client.prepare(NEXT).await?,
            hold: client.prepare(HOLD).await?,
        })
    }

    /// From `expected` (`None`: from nothing) to `mark`.
    pub(super) async fn advance(
        &self,
        client: &Client,
        pipeline: &str,
        expected: Option<&Mark>,
        mark: &Mark,
    ) -> Result<u64, tokio_postgres::Error> {
        let lsn = PgLsn::from(mark.applied.as_u64());
        let timeline = i64::from(mark.link.source.timeline);
        let phase = mark.phase.name();
        let commit_time = time(mark.commit_time);
        let source = &mark.link.source;
        let chain_lsn = mark.inside().map(|_| mark.link.commit_lsn);
        let chain_lsn = chain_lsn.map(|lsn| PgLsn::from(lsn.as_u64()));
        let values: [&(dyn ToSql + Sync); 10] = [
            &pipeline,
            &mark.link.epoch,
            &lsn,
            &mark.commits_offset,
            &source.system_id,
            &timeline,
            &source.slot,
            &phase,
            &commit_time,
            &chain_lsn,
        ];
        match expected {
            None => client.execute(&self.first, &values).await,
            Some(expected) => {
                let applied = PgLsn::from(expected.applied.as_u64());
                let place: [&(dyn ToSql + Sync); 2] = [&applied, &expected.commits_offset];
                client
                    .execute(&self.next, &[&values[..], &place[..]].concat())
                    .await
            }
        }
    }

    /// Holds the progress at `expected`, and the rules at `version`, until the transaction ends.
    pub(super) async fn hold(
        &self,
        client: &Client,
        pipeline: &str,
        expected: &Mark,
        version: i64,
    ) -> Result<u64, tokio_postgres::Error> {
        let lsn = PgLsn::from(expected.applied.as_u64());
        let place: [&(dyn ToSql + Sync); 4] = [&pipeline, &lsn, &expected.commits_offset, &version];
        client.execute(&self.hold, &place).await
    }
}

fn time(micros: i64) -> SystemTime {
    let distance = Duration::from_micros(micros.unsigned_abs());
    match micros >= 0 {
        true => UNIX_EPOCH + distance,
        false => UNIX_EPOCH - distance,
    }
}
