//! How far a pipeline is: `lockstep.progress` on the target.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use change::Lsn;
use change::commit::{CommitKind, CommitRecord};
use serde::{Deserialize, Serialize};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::PgLsn;
use tokio_postgres::{Client, Row};

use crate::consume::{Link, Source};

/// The tables that the applier keeps on the target; running it again changes nothing.
pub const SQL: &str = concat!(
    include_str!("../../sql/target/progress.sql"),
    include_str!("../../sql/target/operations.sql"),
    include_str!("../../sql/target/indexes.sql"),
);

/// How far a pipeline is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub pipeline: String,
    pub epoch: i64,
    /// Everything that the source committed up to here is on the target.
    pub commit_lsn: Lsn,
    /// The commit_lsn of the last commits record that is applied whole; less than `commit_lsn` when
    /// apply was told to stop inside the next one.
    pub chain_lsn: Lsn,
    /// Offset in the commits topic of the last applied record.
    pub commits_offset: i64,
    pub source: Source,
    pub phase: Phase,
    /// When the source committed what was applied last.
    pub commit_time: SystemTime,
    pub applied_at: SystemTime,
    /// Rises with every change of the rules by which apply works: see [`crate::control`].
    pub control: i64,
}

/// What readers of the target see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// A snapshot that is not complete yet.
    Snapshotting,
    /// Only states that the source had.
    Streaming,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown phase")]
pub struct UnknownPhase;

/// Reads a pipeline's progress; `None` when it has none, or when the table is not there yet.
///
/// # Errors
/// When the target does not answer.
pub async fn read(
    client: &Client,
    pipeline: &str,
) -> Result<Option<Progress>, tokio_postgres::Error> {
    let query = format!("select {COLUMNS} from lockstep.progress where pipeline = $1");
    match client.query_opt(&query, &[&pipeline]).await {
        Ok(row) => row.as_ref().map(Progress::of).transpose(),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What [`Progress::of`] reads, in its order.
pub(crate) const COLUMNS: &str = "pipeline, epoch, commit_lsn, commits_offset, system_id, timeline, \
     slot, phase, commit_time, applied_at, control, coalesce(chain_lsn, commit_lsn)";

impl Progress {
    pub(crate) fn of(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let timeline: i64 = row.try_get(5)?;
        let phase: &str = row.try_get(7)?;
        let lsn = |column| Ok(Lsn::new(u64::from(row.try_get::<_, PgLsn>(column)?)));
        Ok(Self {
            pipeline: row.try_get(0)?,
            epoch: row.try_get(1)?,
            commit_lsn: lsn(2)?,
            chain_lsn: lsn(11)?,
            commits_offset: row.try_get(3)?,
            source: Source {
                system_id: row.try_get(4)?,
                timeline: u32::try_from(timeline).unwrap_or(0),
                slot: row.try_get(6)?,
            },
            // The table's constraint allows no other.
            phase: phase.parse().unwrap_or(Phase::Snapshotting),
            commit_time: row.try_get(8)?,
            applied_at: row.try_get(9)?,
            control: row.try_get(10)?,
        })
    }

    pub(crate) fn mark(&self) -> Mark {
        let commit_time = self.commit_time.duration_since(UNIX_EPOCH);
        Mark {
            link: Link {
                epoch: self.epoch,
                commit_lsn: self.chain_lsn,
                source: Arc::new(self.source.clone()),
            },
            applied: self.commit_lsn,
            commits_offset: self.commits_offset,
            phase: self.phase,
            commit_time: commit_time
                .ok()
                .and_then(|time| i64::try_from(time.as_micros()).ok())
                .unwrap_or_default(),
        }
    }
}

/// The place in the commits topic that a pipeline is at: what a step expects to find, and what it
/// leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The last commits record that is applied whole.
    pub(crate) link: Link,
    /// Everything up to here is applied; ahead of the link inside a commits record.
    pub(crate) applied: Lsn,
    pub(crate) commits_offset: i64,
    pub(crate) phase: Phase,
    /// Microseconds since 1970.
    pub(crate) commit_time: i64,
}

impl Mark {
    /// After `record`, which stands at `offset` and came after what left `before`.
    pub(crate) fn after(record: &CommitRecord, offset: i64, before: Option<Phase>) -> Self {
        let phase = match record.kind {
            CommitKind::SnapshotChunk => Phase::Snapshotting,
            CommitKind::SnapshotComplete => Phase::Streaming,
            CommitKind::Stream | CommitKind::Heartbeat => before.unwrap_or(Phase::Streaming),
        };
        Self {
            link: Link::of(record),
            applied: record.commit_lsn,
            commits_offset: offset,
            phase,
            commit_time: record.commit_time,
        }
    }

    /// Up to where the commits record that comes after this one is applied, if it was begun.
    pub(crate) fn inside(&self) -> Option<Lsn> {
        (self.applied > self.link.commit_lsn).then_some(self.applied)
    }

    /// Inside the commits record that comes after this one: everything up to `applied` of it is
    /// there.
    pub(crate) fn within(&self, applied: Lsn) -> Self {
        Self {
            applied,
            ..self.clone()
        }
    }
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Self::Snapshotting => "snapshotting",
            Self::Streaming => "streaming",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Phase {
    type Err = UnknownPhase;

    fn from_str(name: &str) -> Result<Self, UnknownPhase> {
        match name {
            "snapshotting" => Ok(Self::Snapshotting),
            "streaming" => Ok(Self::Streaming),
            _ => Err(UnknownPhase),
        }
    }
}
