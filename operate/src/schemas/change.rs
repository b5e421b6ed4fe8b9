//! What people change in the registry, each with its line in the audit log.

use anyhow::Context;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::audit::{self, Actor, Deed};
use crate::registry::{Deletion, Level, Registry};

/// Who changes something, and where that is written down.
pub struct Changer<'a> {
    pub registry: &'a Registry,
    pub target: &'a mut Client,
    pub pipeline: &'a str,
    pub actor: &'a Actor,
}

/// What a level is called that is no subject's own.
pub const GLOBAL: &str = "global";

impl Changer<'_> {
    /// Sets the level of a subject, or that of all that have none of their own.
    ///
    /// # Errors
    /// When the registry refuses, or the target does not take the line in the log; then nothing is
    /// changed.
    pub async fn set_level(&mut self, subject: Option<&str>, level: Level) -> anyhow::Result<()> {
        let registry = self.registry;
        let details = json!({ "level": level.name() });
        let set = async { Ok(registry.set_level(subject, level).await?) };
        self.audited("schemas level", subject, details, set).await
    }

    /// Takes a subject's own level away, so that the global one holds, and whatever else is configured
    /// for it: the registry takes away both or nothing.
    ///
    /// # Errors
    /// As [`Self::set_level`].
    pub async fn clear_level(&mut self, subject: &str) -> anyhow::Result<()> {
        let registry = self.registry;
        let cleared = async { Ok(registry.clear_level(subject).await?) };
        let details = json!({ "level": null });
        self.audited("schemas level", Some(subject), details, cleared)
            .await
    }

    /// Deletes a subject with all its versions, or one of them.
    ///
    /// # Errors
    /// As [`Self::set_level`]. The registry refuses to delete for ever what was not deleted before.
    pub async fn delete(
        &mut self,
        subject: &str,
        version: Option<i32>,
        deletion: Deletion,
    ) -> anyhow::Result<()> {
        let registry = self.registry;
        let permanent = deletion == Deletion::Permanent;
        let details = json!({ "version": version, "permanent": permanent });
        let deleted = async { Ok(registry.delete(subject, version, deletion).await?) };
        self.audited("schemas delete", Some(subject), details, deleted)
            .await
    }

    /// The line is written first and kept when the registry has done it: nothing is done that could
    /// not be written down.
    pub(super) async fn audited(
        &mut self,
        action: &str,
        object: Option<&str>,
        details: Value,
        change: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        let transaction = self.target.transaction().await;
        let transaction = transaction.context("begin a transaction on the target")?;
        let deed = Deed {
            action,
            object,
            details: Some(details),
        };
        audit::record(&transaction, self.pipeline, self.actor, &deed).await?;
        change.await?;
        let kept = transaction.commit().await;
        kept.context("it is done, but the line in the audit log was lost")
    }
}
