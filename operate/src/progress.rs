//! How far the target is.

use anyhow::Context;
pub use applier::progress::{Phase, Progress};
use tokio_postgres::Client;

/// `None` while nothing was applied.
///
/// # Errors
/// When the target cannot be asked.
pub async fn read(target: &Client, pipeline: &str) -> anyhow::Result<Option<Progress>> {
    let progress = applier::progress::read(target, pipeline).await;
    progress.context("read the target's progress")
}
