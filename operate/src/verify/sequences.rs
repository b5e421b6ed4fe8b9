//! Whether sequences of the target are where those of the source are, or ahead.
//!
//! They have no state at an LSN. What the source has handed out before an LSN was current must be on
//! the target when that has applied a commits record behind it.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use applier::SEQUENCES_BEHIND;
use change::Lsn;
use change::commit::SequenceState;
use serde::Serialize;
use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

/// What the source's sequences have handed out at the least.
pub(super) struct HandedOut {
    sequences: Vec<SequenceState>,
    /// What commits from here on commits later.
    lsn: Lsn,
}

/// A sequence of the target that would hand out what the source has handed out already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BehindSequence {
    pub sequence: String,
    /// What was handed out last.
    pub source: i64,
    /// Likewise; none when it has handed out nothing.
    pub target: Option<i64>,
}

const LOOK_INTERVAL: Duration = Duration::from_millis(50);

impl HandedOut {
    pub(super) async fn read(source: &Client, publication: &str) -> anyhow::Result<Self> {
        let sequences = cdc::sequences(source, publication).await;
        let sequences = sequences.context("read the source's sequences")?;
        let now = source.query_one("select pg_current_wal_insert_lsn()", &[]);
        let now = now.await.context("ask for the source's position")?;
        Ok(Self {
            sequences,
            lsn: Lsn::new(now.get::<_, PgLsn>(0).into()),
        })
    }

    /// Those of the target that are behind, as soon as they must not be.
    ///
    /// # Errors
    /// When the target does not get there within `patience`.
    pub(super) async fn behind(
        &self,
        target: &Client,
        pipeline: &str,
        patience: Duration,
    ) -> anyhow::Result<Vec<BehindSequence>> {
        if self.sequences.is_empty() {
            return Ok(Vec::new());
        }
        self.wait(target, pipeline, patience).await?;
        let (mut schemas, mut names, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for sequence in &self.sequences {
            schemas.push(sequence.schema.as_str());
            names.push(sequence.name.as_str());
            values.push(sequence.last_value);
        }
        let sql = format!(
            "select b.schema || '.' || b.name, b.source, b.target from ({SEQUENCES_BEHIND}) b \
              where not b.seqcycle order by 1"
        );
        let rows = target.query(&sql, &[&schemas, &names, &values]).await;
        let rows = rows.context("compare sequences")?;
        let behind = rows.iter().map(|row| BehindSequence {
            sequence: row.get(0),
            source: row.get(1),
            target: row.get(2),
        });
        Ok(behind.collect())
    }

    /// Until a whole commits record behind our position is applied.
    async fn wait(
        &self,
        target: &Client,
        pipeline: &str,
        patience: Duration,
    ) -> anyhow::Result<()> {
        let give_up_at = Instant::now() + patience;
        loop {
            let progress = applier::progress::read(target, pipeline).await;
            let progress = progress.context("read how far the target is")?;
            let applied = progress.map_or(Lsn::ZERO, |progress| progress.chain_lsn);
            if applied >= self.lsn {
                return Ok(());
            }
            if Instant::now() > give_up_at {
                let lsn = self.lsn;
                bail!(
                    "the target is at {applied} and does not come to {lsn}, where its sequences \
                     can be compared: `lockstep status` says why"
                );
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

impl fmt::Display for BehindSequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sequence,
            source,
            target,
        } = self;
        write!(f, "{sequence}: BEHIND, source {source}, target ")?;
        match target {
            Some(target) => write!(f, "{target}"),
            None => f.write_str("unused"),
        }
    }
}
