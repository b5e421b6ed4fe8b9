//! Registering again what a lost registry had, from what the target keeps.
//!
//! Apply keeps the text of each schema that it has read records of. Keys' schemas it does not read:
//! capture registers those anew when it starts. Nor does it know the ids of records that it had not
//! reached: the registry goes on above the highest id that was restored, and may give those again.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use change::envelope::{PART_SUBJECT, is_part_schema};
use change::framing::SchemaId;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_postgres::Client;

use super::Changer;
use crate::registry::{Registry, RegistryError};

/// A schema that the target keeps, and what the registry has under its id now.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Restored {
    pub id: u32,
    pub subject: String,
    /// Whether it was missing.
    pub restored: bool,
}

struct Kept {
    id: SchemaId,
    subject: String,
    text: String,
}

impl Changer<'_> {
    /// Registers, under their ids, those of the schemas that the target keeps which the registry does
    /// not know; in the order of their ids, so that a subject's versions come in the order in which
    /// they were made.
    ///
    /// # Errors
    /// When the registry has another schema under one of the ids, of which nothing is registered then;
    /// when it takes no ids of a client's (mode IMPORT).
    pub async fn restore(&mut self) -> anyhow::Result<Vec<Restored>> {
        let registry = self.registry;
        let mut missing: BTreeMap<String, Vec<Kept>> = BTreeMap::new();
        let mut all = Vec::new();
        for kept in kept(self.target).await? {
            let restored = !is_there(registry, &kept).await?;
            all.push(Restored {
                id: kept.id.0,
                subject: kept.subject.clone(),
                restored,
            });
            if restored {
                missing.entry(kept.subject.clone()).or_default().push(kept);
            }
        }
        if !missing.is_empty() {
            let ids = all.iter().filter(|it| it.restored).map(|it| it.id);
            let details = json!({ "ids": ids.collect::<Vec<u32>>() });
            let import = async {
                for (subject, schemas) in &missing {
                    import(registry, subject, schemas).await?;
                }
                Ok(())
            };
            self.audited("schemas restore", None, details, import)
                .await?;
        }
        Ok(all)
    }
}

async fn kept(target: &Client) -> anyhow::Result<Vec<Kept>> {
    let query = "select id, topic, schema from lockstep.schemas order by id";
    let rows = target.query(query, &[]).await;
    let rows = rows.context("read lockstep.schemas, which apply makes when it first runs")?;
    let kept = rows.iter().map(|row| {
        let (topic, text): (&str, String) = (row.get(1), row.get(2));
        Ok(Kept {
            id: SchemaId(
                u32::try_from(row.get::<_, i64>(0)).context("an id is no number of 32 bits")?,
            ),
            subject: match is_part_schema(&text) {
                true => PART_SUBJECT.to_owned(),
                false => format!("{topic}-value"),
            },
            text,
        })
    });
    kept.collect()
}

/// Whether the registry knows the schema by its id.
async fn is_there(registry: &Registry, kept: &Kept) -> anyhow::Result<bool> {
    let SchemaId(id) = kept.id;
    match registry.schema(kept.id).await {
        Ok(text) if applier::fingerprint(&text) == applier::fingerprint(&kept.text) => Ok(true),
        Ok(_) => bail!(
            "the registry has another schema with id {id} than records of {} were written with: stop \
             capture, and restore into a registry that has nothing registered",
            kept.subject
        ),
        Err(RegistryError::Refused { code, .. }) if code == RegistryError::SCHEMA_NOT_FOUND => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// The subject takes ids for as long as that takes, and is what it was then, whatever happens.
async fn import(registry: &Registry, subject: &str, schemas: &[Kept]) -> anyhow::Result<()> {
    let mode = registry.mode(subject).await?;
    registry.set_mode(subject, "IMPORT").await?;
    let mut imported = Ok(());
    for schema in schemas {
        imported = registry.import(subject, schema.id, &schema.text).await;
        if imported.is_err() {
            break;
        }
    }
    let left = match mode {
        Some(mode) => registry.set_mode(subject, &mode).await,
        None => registry.clear_mode(subject).await,
    };
    imported.with_context(|| format!("restore the schemas of {subject}"))?;
    left.with_context(|| format!("let subject {subject} be registered to again"))
}
