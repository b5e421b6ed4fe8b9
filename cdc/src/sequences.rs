//! How far the sequences of published tables are, which the log does not tell.
//!
//! They are read when everything that a commits record covers was received, and told in it: whoever has
//! committed by then has taken its numbers before, and sequences only move on. So a target that has
//! applied the record can hand out numbers itself and repeat none.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use change::OWN_SCHEMA;
use change::commit::SequenceState;
use service::postgres::{ConnectError, Connection, Dsn, connect};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row};

use crate::publish::Shapes;
use crate::wire::Oid;

/// How long a sequence may be locked, by a truncation that restarts it, before capture goes on
/// without.
const LOCK_TIMEOUT: &str = "set lock_timeout = '100ms'";
/// How long none is asked for then.
const REST: Duration = Duration::from_secs(1);
/// Which sequences a table uses can change without a word in the stream.
const LIST_AGE_MAX: Duration = Duration::from_secs(60);

/// Why it is not known how far they are.
#[derive(Debug, thiserror::Error)]
pub enum SequencesError {
    #[error("connect to the source")]
    Connect(#[from] ConnectError),
    #[error("ask the source")]
    Query(#[from] tokio_postgres::Error),
}

impl SequencesError {
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_transient(),
            // All that is asked for is in the catalog, and ours to read.
            Self::Query(_) => true,
        }
    }
}

/// What is known of them so far.
pub(crate) struct Sequences {
    source: Dsn,
    publication: String,
    session: Option<Connection>,
    /// Those of published tables, and when that was looked up; none when it has to be.
    listed: Option<(Vec<Oid>, Instant)>,
    /// Asked for again from then on, after one was locked.
    rests_until: Option<Instant>,
    told: HashMap<(String, String), i64>,
}

impl Sequences {
    pub(crate) fn new(source: &Dsn, publication: &str) -> Self {
        Self {
            source: source.clone(),
            publication: publication.to_owned(),
            session: None,
            listed: None,
            rests_until: None,
            told: HashMap::new(),
        }
    }

    /// Those that have moved since the last call; in the first, all that have handed out anything.
    ///
    /// # Errors
    /// When the source does not answer.
    pub(crate) async fn moved(
        &mut self,
        shapes: Shapes,
    ) -> Result<Vec<SequenceState>, SequencesError> {
        let is_old = |listed_at: Instant| listed_at.elapsed() > LIST_AGE_MAX;
        if shapes == Shapes::Described || self.listed.as_ref().is_some_and(|it| is_old(it.1)) {
            self.listed = None;
        }
        if self.rests_until.is_some_and(|end| Instant::now() < end) {
            return Ok(Vec::new());
        }
        let mut states = match self.read().await {
            Err(SequencesError::Query(error)) if is_in_the_way(&error) => {
                if self.rests_until.is_none() {
                    tracing::warn!(
                        publication = self.publication,
                        "a sequence is locked: how far sequences are is told later"
                    );
                }
                self.listed = None;
                self.rests_until = Some(Instant::now() + REST);
                return Ok(Vec::new());
            }
            read => read?,
        };
        self.rests_until = None;
        states.retain(|state| {
            let name = (state.schema.clone(), state.name.clone());
            self.told.insert(name, state.last_value) != Some(state.last_value)
        });
        Ok(states)
    }

    async fn read(&mut self) -> Result<Vec<SequenceState>, SequencesError> {
        let session = match &mut self.session {
            Some(session) => session,
            none => {
                let session = connect(&self.source, "lockstep cdc").await?;
                session.batch_execute(LOCK_TIMEOUT).await?;
                none.insert(session)
            }
        };
        let (sequences, _) = match &mut self.listed {
            Some(listed) => listed,
            none => {
                let sequences = list(session, &self.publication).await?;
                none.insert((sequences, Instant::now()))
            }
        };
        Ok(values(session, sequences).await?)
    }
}

/// Another session has locked one, or has just dropped it.
fn is_in_the_way(error: &tokio_postgres::Error) -> bool {
    let passing = [SqlState::LOCK_NOT_AVAILABLE, SqlState::INTERNAL_ERROR];
    error.code().is_some_and(|code| passing.contains(code))
}

/// How far the sequences of published tables are.
///
/// # Errors
/// When the source does not answer.
pub async fn sequences(
    source: &Client,
    publication: &str,
) -> Result<Vec<SequenceState>, tokio_postgres::Error> {
    values(source, &list(source, publication).await?).await
}

/// Those that our role may not read, quoted: the target's may be behind them.
///
/// # Errors
/// When the source does not answer.
pub async fn unreadable_sequences(
    source: &Client,
    publication: &str,
) -> Result<Vec<String>, tokio_postgres::Error> {
    let rows = source.query(LIST, &[&publication, &OWN_SCHEMA]).await?;
    let unreadable = rows.iter().filter(|row| !row.get::<_, bool>("readable"));
    Ok(unreadable.map(|row| row.get("quoted")).collect())
}

async fn list(source: &Client, publication: &str) -> Result<Vec<Oid>, tokio_postgres::Error> {
    let rows = source.query(LIST, &[&publication, &OWN_SCHEMA]).await?;
    let readable = rows.iter().filter(|row| row.get::<_, bool>("readable"));
    Ok(readable.map(|row| row.get("oid")).collect())
}

/// Sequences that a column owns or that its default names, of tables that are published or whose
/// partitions or parents are.
const LIST: &str = "
with published as (
    select c.oid from pg_publication_tables t
      join pg_namespace n on n.nspname = t.schemaname
      join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename
     where t.pubname = $1 and n.nspname <> $2
), related as (
    select p.oid from published p
    union
    select a.relid from published p, pg_partition_ancestors(p.oid) a
    union
    select t.relid from published p, pg_partition_tree(p.oid) t
), used as (
    select d.objid as oid from related r
      join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = r.oid
                      and d.classid = 'pg_class'::regclass and d.deptype in ('a', 'i')
    union
    select d.refobjid from related r
      join pg_attrdef e on e.adrelid = r.oid
      join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = e.oid
                      and d.refclassid = 'pg_class'::regclass
)
select c.oid, format('%I.%I', n.nspname, c.relname) as quoted,
       has_sequence_privilege(c.oid, 'usage, select') as readable
  from used u join pg_class c on c.oid = u.oid join pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'S' and c.relpersistence = 'p'";

/// Those that have handed out anything.
async fn values(
    source: &Client,
    sequences: &[Oid],
) -> Result<Vec<SequenceState>, tokio_postgres::Error> {
    if sequences.is_empty() {
        return Ok(Vec::new());
    }
    let rows = source.query(VALUES, &[&sequences]).await?;
    Ok(rows.iter().filter_map(state).collect())
}

const VALUES: &str = "
select n.nspname::text, c.relname::text, pg_sequence_last_value(c.oid)
  from unnest($1::oid[]) as one (oid)
  join pg_class c on c.oid = one.oid
  join pg_namespace n on n.oid = c.relnamespace";

fn state(row: &Row) -> Option<SequenceState> {
    Some(SequenceState {
        schema: row.get(0),
        name: row.get(1),
        last_value: row.get::<_, Option<i64>>(2)?,
    })
}
