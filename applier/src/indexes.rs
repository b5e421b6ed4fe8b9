//! Indexes of large tables, built beside apply.
//!
//! A table on the target is the truth (`sql/target/indexes.sql`): an index stands there from the
//! transaction of its place on until it is built, with CREATE INDEX CONCURRENTLY, so that rows flow
//! meanwhile. Who is killed in the middle leaves an invalid one, which is dropped before the next
//! attempt.
//!
//! A build keeps others from changing its table, and waits for the transactions of all who write. So it
//! gives way: it is cancelled as soon as apply waits for it, and begins again behind it. Building and
//! what apply does with the same table exclude each other by a lock ([`LOCK`]): an index that apply has
//! dropped is not built after that.

use std::time::Duration;

use change::quoted;
use service::Backoff;
use service::postgres::{Connection, connect};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tracing::{info, warn};

use crate::bell::Bell;
use crate::config::Config;
use crate::error::{Error, StatementError, step};
use crate::target::APPLICATION_NAME;

/// What builders are called on the target.
const BUILDER: &str = "lockstep applier (indexes)";

/// The two keys of the advisory lock of a pipeline, `$1`. A builder has it while it builds, apply for the
/// rest of its transaction when it changes a table for which an index is written down.
pub(crate) const LOCK: &str = "hashtext('lockstep.indexes'), hashtext($1)";

/// Apply is kept from its work no longer than this, and what it takes to cancel a build.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// What fails does so again until somebody mends it, and may take long to fail.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_CAP: Duration = Duration::from_secs(60);

/// What role and database have chosen is for others.
const SETTINGS: &str = "set statement_timeout = 0; set lock_timeout = 0; \
    set standard_conforming_strings = on";

/// Builders of this pipeline whose applier was killed: the server goes on with what they had begun.
const END_FORMER: &str = "select pg_terminate_backend(a.pid) \
    from pg_stat_activity a join pg_locks l on l.pid = a.pid and l.locktype = 'advisory' \
    where a.application_name = $2 and a.pid <> pg_backend_pid() and a.datname = current_database() \
      and (l.classid::int8, l.objid::int8) \
        = (hashtext('lockstep.indexes')::int8 & x'ffffffff'::int8, hashtext($1)::int8 & x'ffffffff'::int8)";

/// The next one: those that have failed come after the others.
const NEXT: &str = "select table_schema, table_name, index_name, definition, error \
    from lockstep.indexes where pipeline = $1 order by attempts, asked_at limit 1";

const STANDING: &str = "select i.indisvalid from pg_index i \
    join pg_class c on c.oid = i.indexrelid join pg_class t on t.oid = i.indrelid \
    join pg_namespace n on n.oid = t.relnamespace \
    where n.nspname = $1 and t.relname = $2 and c.relname = $3";

const DONE: &str = "delete from lockstep.indexes \
    where pipeline = $1 and table_schema = $2 and index_name = $3";
const BEGUN: &str = "update lockstep.indexes set started_at = clock_timestamp() \
    where pipeline = $1 and table_schema = $2 and index_name = $3";
const REFUSED: &str = "update lockstep.indexes set attempts = attempts + 1, error = $4 \
    where pipeline = $1 and table_schema = $2 and index_name = $3";

/// Cancels a build, `$1`, that apply waits for.
const GIVE_WAY: &str = "select pg_cancel_backend($1) where exists ( \
    select from pg_stat_activity where application_name = $2 and datname = current_database() \
       and wait_event_type = 'Lock' and $1 = any (pg_blocking_pids(pid)))";

/// An index that is written down.
struct Waiting {
    schema: String,
    table: String,
    name: String,
    definition: String,
    error: Option<String>,
}

/// What came of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing is written down.
    Nothing,
    Forward,
    /// The target refused it, which is noted.
    Refused,
}

/// Builds what is written down whenever the bell is rung.
pub(crate) async fn build(config: Config, bell: Bell) {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_CAP);
    loop {
        bell.rung().await;
        backoff.reset();
        loop {
            match build_all(&config).await {
                Ok(Step::Nothing) => break,
                Ok(Step::Forward | Step::Refused) => {}
                Err(error) => {
                    let error = service::chain(&error);
                    warn!(error, "indexes are not built, trying again");
                }
            }
            tokio::select! {
                biased;
                () = bell.rung() => backoff.reset(),
                () = tokio::time::sleep(backoff.next()) => {}
            }
        }
    }
}

/// Builds what is written down, until nothing is or one is refused.
async fn build_all(config: &Config) -> Result<Step, Error> {
    let pipeline = &config.pipeline;
    let watch = connect(&config.target, BUILDER).await?;
    if next(&watch, pipeline).await?.is_none() {
        return Ok(Step::Nothing);
    }
    let build = connect(&config.target, BUILDER).await?;
    let set_up = build.batch_execute(SETTINGS).await;
    set_up.map_err(step("set up a session"))?;
    let ended = watch.execute(END_FORMER, &[pipeline, &BUILDER]).await;
    ended.map_err(step("end former builders of indexes"))?;
    let (lock, unlock) = (
        format!("select pg_advisory_lock({LOCK})"),
        format!("select pg_advisory_unlock({LOCK})"),
    );
    loop {
        let locked = build.execute(&lock, &[pipeline]).await;
        locked.map_err(step("lock lockstep.indexes"))?;
        let came = build_next(&build, &watch, pipeline).await?;
        let unlocked = build.execute(&unlock, &[pipeline]).await;
        unlocked.map_err(step("unlock lockstep.indexes"))?;
        if came != Step::Forward {
            return Ok(came);
        }
    }
}

async fn next(watch: &Connection, pipeline: &str) -> Result<Option<Waiting>, Error> {
    let row = watch.query_opt(NEXT, &[&pipeline]).await;
    let row = row.map_err(step("read lockstep.indexes"))?;
    Ok(row.as_ref().map(Waiting::of))
}

/// What is there is done, a leftover is dropped, and what is not there is built.
async fn build_next(build: &Connection, watch: &Connection, pipeline: &str) -> Result<Step, Error> {
    let Some(index) = next(watch, pipeline).await? else {
        return Ok(Step::Nothing);
    };
    let standing = watch
        .query_opt(STANDING, &[&index.schema, &index.table, &index.name])
        .await
        .map_err(step("look for an index"))?;
    let sql = match standing.map(|row| row.get::<_, bool>(0)) {
        Some(true) => {
            index.note(watch, pipeline, DONE).await?;
            info!(table = index.table, index = index.name, "built an index");
            return Ok(Step::Forward);
        }
        Some(false) => index.drop(),
        None => index.create(),
    };
    index.note(watch, pipeline, BEGUN).await?;
    match give_way(build, watch, &sql).await? {
        Ok(()) => Ok(Step::Forward),
        Err(error) => {
            index.refused(watch, pipeline, &error).await?;
            Ok(Step::Refused)
        }
    }
}

/// Runs a statement, and cancels it when apply waits for it. The inner error is the target's refusal.
async fn give_way(
    build: &Connection,
    watch: &Connection,
    sql: &str,
) -> Result<Result<(), StatementError>, Error> {
    let pid = build.query_one("select pg_backend_pid()", &[]).await;
    let pid: i32 = pid.map_err(step("ask for a process id"))?.get(0);
    let mut statement = std::pin::pin!(build.execute(sql, &[]));
    let mut gave_way = false;
    loop {
        tokio::select! {
            biased;
            ended = &mut statement => return match ended {
                Ok(_) => Ok(Ok(())),
                Err(error) if gave_way && error.code() == Some(&SqlState::QUERY_CANCELED) => {
                    info!("the build of an index gave way to apply");
                    Ok(Ok(()))
                }
                // The connection broke.
                Err(error) if error.code().is_none() => Err(step("build an index")(error)),
                Err(error) => Ok(Err(StatementError(error))),
            },
            () = tokio::time::sleep(LOOK_INTERVAL) => {
                let cancelled = watch.execute(GIVE_WAY, &[&pid, &APPLICATION_NAME]).await;
                gave_way |= cancelled.map_err(step("look who waits for a build"))? > 0;
            }
        }
    }
}

impl Waiting {
    fn of(row: &Row) -> Self {
        Self {
            schema: row.get(0),
            table: row.get(1),
            name: row.get(2),
            definition: row.get(3),
            error: row.get(4),
        }
    }

    fn create(&self) -> String {
        let begin = "CREATE INDEX ";
        self.definition
            .replacen(begin, "CREATE INDEX CONCURRENTLY ", 1)
    }

    fn drop(&self) -> String {
        let (schema, name) = (quoted(&self.schema), quoted(&self.name));
        format!("drop index concurrently if exists {schema}.{name}")
    }

    async fn note(&self, watch: &Connection, pipeline: &str, sql: &str) -> Result<(), Error> {
        let noted = watch
            .execute(sql, &[&pipeline, &self.schema, &self.name])
            .await;
        noted.map_err(step("write lockstep.indexes")).map(drop)
    }

    async fn refused(
        &self,
        watch: &Connection,
        pipeline: &str,
        error: &StatementError,
    ) -> Result<(), Error> {
        let error = error.to_string();
        let noted = watch
            .execute(REFUSED, &[&pipeline, &self.schema, &self.name, &error])
            .await;
        noted.map_err(step("write lockstep.indexes"))?;
        if self.error.as_ref() != Some(&error) {
            let (table, index) = (&self.table, &self.name);
            warn!(
                table,
                index, error, "an index could not be built, trying again"
            );
        }
        Ok(())
    }
}
