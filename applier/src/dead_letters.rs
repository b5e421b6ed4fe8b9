//! What operators do with changes that were set aside.

use serde::{Deserialize, Serialize};
use service::postgres::{Dsn, connect};

use crate::differences::Differences;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::registry::Registry;
use crate::target::{Policies, Session};

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
/// decoded, with the schemas that `registry` (its URL) knows now. Apply stands still meanwhile. Of
/// `differences` the key of hashes is needed, where a record is decoded that has such.
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
    differences: &Differences,
) -> Result<Redriven, Error> {
    let registry = Registry::new(registry)?;
    let mut session = session(target, pipeline, differences).await?;
    session.redrive(ids, who, &registry).await
}

/// What a letter wants beside what is there; `None` when there is no such letter.
///
/// # Errors
/// When the target does not answer, or lacks the table.
pub async fn sides(target: &Dsn, pipeline: &str, id: i64) -> Result<Option<Vec<Side>>, Error> {
    let differences = Differences::default();
    session(target, pipeline, &differences)
        .await?
        .sides(id)
        .await
}

async fn session(
    target: &Dsn,
    pipeline: &str,
    differences: &Differences,
) -> Result<Session, Error> {
    // Nobody asks this session for its metrics.
    let metrics = Metrics::register(&prometheus::Registry::new())?;
    let client = connect(target, "lockstep dead-letters").await?;
    let policies = Policies {
        differences: differences.or_stored(&client, pipeline).await?,
        ..Policies::default()
    };
    Session::connect(target, pipeline, policies, &metrics).await
}
