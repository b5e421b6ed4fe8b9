//! What operators do with changes that were set aside.

use serde::{Deserialize, Serialize};
use service::postgres::Dsn;

use crate::conflicts::{Conflicts, Policy};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::registry::Registry;
use crate::target::Session;

/// What a redrive did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Redriven {
    pub applied: u64,
    /// The target refused them again.
    pub refused: u64,
    /// An earlier change of their key was refused again.
    pub waiting: u64,
}

/// One column of a letter: what the change wants beside what is there. `None` is NULL, or that there
/// is no such row.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Side {
    pub column: String,
    pub is_key: bool,
    /// The change leaves it as it is.
    pub unchanged: bool,
    pub wanted: Option<String>,
    pub present: Option<String>,
}

/// Applies the open ones among these letters, and all that share a key with them, in commit order.
/// One that is refused again stays open with all that follow it, and so does one that still cannot be
/// decoded, with the schemas that `registry` (its URL) knows now. Apply stands still meanwhile.
///
/// # Errors
/// When the target does not answer, or refuses for another reason than the data; nothing is
/// redriven then.
pub async fn redrive(
    target: &Dsn,
    pipeline: &str,
    ids: &[i64],
    who: &str,
    registry: &str,
) -> Result<Redriven, Error> {
    let registry = Registry::new(registry)?;
    let mut session = session(target, pipeline).await?;
    session.redrive(ids, who, &registry).await
}

/// What a letter wants beside what is there; `None` when there is no such letter.
///
/// # Errors
/// When the target does not answer, or lacks the table.
pub async fn sides(target: &Dsn, pipeline: &str, id: i64) -> Result<Option<Vec<Side>>, Error> {
    session(target, pipeline).await?.sides(id).await
}

async fn session(target: &Dsn, pipeline: &str) -> Result<Session, Error> {
    let conflicts = Conflicts {
        conflicts: Policy::Stop,
        table_conflicts: Vec::new(),
    };
    // Nobody asks this session for its metrics.
    let metrics = Metrics::register(&prometheus::Registry::new())?;
    Session::connect(target, pipeline, conflicts, &metrics).await
}
