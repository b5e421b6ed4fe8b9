//! Schemas by id: from memory, the registry and the target.

use std::collections::HashMap;
use std::sync::Arc;

use change::TableName;
use change::envelope::is_part_schema;
use change::framing::SchemaId;
use change::topic::Topics;
use serde_json::Value;
use service::Health;
use service::postgres::{Connection, Dsn, connect};
use sha2::{Digest, Sha256};
use tokio_postgres::Client;
use tracing::warn;

use crate::config::Config;
use crate::decode::Plan;
use crate::differences::{Differences, DifferencesError};
use crate::error::{Error, step};
use crate::metrics::REGISTRY;
use crate::registry::Registry;

/// The schemas of a pipeline's data records.
///
/// Each is kept on the target with its fingerprint when it is first seen. So a registry that was
/// replaced is noticed, and one that is away is not missed.
pub(crate) struct Schemas {
    known: HashMap<SchemaId, Holds>,
    registry: Registry,
    target: Dsn,
    /// Kept while schemas keep turning up, as they do when all tables are new.
    session: Option<Connection>,
    /// Since [`Schemas::rest`].
    was_asked: bool,
    topics: Topics,
    differences: Differences,
    health: Health,
}

/// What records of a schema hold.
#[derive(Clone)]
pub(crate) enum Holds {
    Changes(Arc<Plan>),
    /// Of records of any schema and topic.
    Parts,
}

struct Stored {
    text: String,
    fingerprint: String,
}

impl Schemas {
    /// # Errors
    /// When no client of the registry can be made.
    pub(crate) fn new(config: &Config, health: &Health) -> Result<Self, Error> {
        Ok(Self {
            known: HashMap::new(),
            registry: Registry::new(&config.registry)?,
            target: config.target.clone(),
            session: None,
            was_asked: false,
            topics: config.prefix.clone(),
            differences: config.differences.clone(),
            health: health.clone(),
        })
    }

    /// How records of `schema` in `topic` are read.
    ///
    /// # Errors
    /// When nobody knows the schema, when it is another than it was, or not one of ours.
    pub(crate) async fn holds(&mut self, schema: SchemaId, topic: &str) -> Result<Holds, Error> {
        match self.known.get(&schema) {
            Some(Holds::Changes(plan)) if plan.topic != topic => return Err(foreign(topic, plan)),
            Some(holds) => return Ok(holds.clone()),
            None => {}
        }
        let text = Box::pin(self.text(schema, topic)).await?;
        let holds = match is_part_schema(&text) {
            true => Holds::Parts,
            false => Holds::Changes(self.plan(schema, topic, &text)?),
        };
        self.known.insert(schema, holds.clone());
        Ok(holds)
    }

    fn plan(&self, schema: SchemaId, topic: &str, text: &str) -> Result<Arc<Plan>, Error> {
        let plan = Plan::compile(schema, topic, text).map_err(|source| Error::Schema {
            schema,
            topic: topic.to_owned(),
            source,
        })?;
        // Whoever can register a schema must not be able to write to any table.
        if self.topics.data(&plan.relation.table)? != topic {
            return Err(foreign(topic, &plan));
        }
        let plan = plan.under(&self.differences)?;
        let is_other = |holds: &Holds| match holds {
            Holds::Changes(other) => {
                other.target == plan.target && other.relation.table != plan.relation.table
            }
            Holds::Parts => false,
        };
        if self.known.values().any(is_other) {
            let target = plan.target.to_string();
            return Err(DifferencesError::OneTarget(target).into());
        }
        Ok(Arc::new(plan))
    }

    /// Ends the session with the target, unless schemas have been asked for since the last call.
    pub(crate) fn rest(&mut self) {
        if !std::mem::take(&mut self.was_asked) {
            self.session = None;
        }
    }

    /// The table whose changes `topic` holds.
    pub(crate) fn table(&self, topic: &str) -> Option<TableName> {
        self.topics.table(topic)
    }

    async fn text(&mut self, schema: SchemaId, topic: &str) -> Result<String, Error> {
        self.was_asked = true;
        let session = match self.session.take() {
            Some(session) if !session.is_closed() => session,
            _ => connect(&self.target, "lockstep applier (schemas)").await?,
        };
        let registered = self.registry.schema(schema).await;
        self.health.set(REGISTRY, state(&registered));
        let text = known_text(&session, registered, schema, topic).await?;
        self.session = Some(session);
        Ok(text)
    }
}

/// The text of a schema: what the registry says, if it is what was said before, or that.
///
/// # Errors
/// When neither is known, or when it is another than it was.
pub(crate) async fn known_text(
    target: &Client,
    registered: Result<String, Error>,
    schema: SchemaId,
    topic: &str,
) -> Result<String, Error> {
    match (registered, stored(target, schema).await?) {
        (Ok(text), Some(stored)) => {
            let found = fingerprint(&text);
            if found != stored.fingerprint {
                return Err(Error::SchemaSwapped {
                    schema,
                    topic: topic.to_owned(),
                    stored: stored.fingerprint,
                    found,
                });
            }
            Ok(stored.text)
        }
        (Ok(text), None) => {
            keep(target, schema, topic, &text).await?;
            Ok(text)
        }
        (Err(error), Some(stored)) => {
            let error = service::chain(&error);
            warn!(
                error,
                schema = schema.0,
                "registry is away: going on with what the target has"
            );
            Ok(stored.text)
        }
        (Err(error), None) => Err(error),
    }
}

fn foreign(topic: &str, plan: &Plan) -> Error {
    Error::ForeignTable {
        topic: topic.to_owned(),
        table: plan.relation.table.clone(),
    }
}

fn state(registered: &Result<String, Error>) -> Result<(), String> {
    match registered {
        Ok(_) => Ok(()),
        Err(error) => Err(service::chain(error)),
    }
}

async fn stored(target: &Client, schema: SchemaId) -> Result<Option<Stored>, Error> {
    let query = "select schema, fingerprint from lockstep.schemas where id = $1";
    let row = target.query_opt(query, &[&i64::from(schema.0)]).await;
    let row = row.map_err(step("read lockstep.schemas"))?;
    Ok(row.map(|row| Stored {
        text: row.get(0),
        fingerprint: row.get(1),
    }))
}

async fn keep(target: &Client, schema: SchemaId, topic: &str, text: &str) -> Result<(), Error> {
    let insert = "insert into lockstep.schemas (id, topic, fingerprint, schema) \
                  values ($1, $2, $3, $4) on conflict (id) do nothing";
    target
        .execute(
            insert,
            &[&i64::from(schema.0), &topic, &fingerprint(text), &text],
        )
        .await
        .map_err(step("write lockstep.schemas"))?;
    Ok(())
}

/// SHA-256 of the schema as JSON with sorted attributes and no spaces: registries may reorder and
/// reformat what they were given.
pub fn fingerprint(schema: &str) -> String {
    let canonical = match serde_json::from_str(schema) {
        Ok(value) => sorted(value).to_string(),
        // Not a schema at all; compiling it will say so.
        Err(_) => schema.to_owned(),
    };
    let digest = Sha256::digest(canonical.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<(String, Value)> = object.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            let entries = entries
                .into_iter()
                .map(|(name, value)| (name, sorted(value)));
            Value::Object(entries.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_differ_by_meaning_only() {
        let a = fingerprint(r#"{"type": "record", "fields": [{"a": 1, "b": null}]}"#);
        assert_eq!(
            a,
            fingerprint(r#"{"fields":[{"b":null,"a":1}],"type":"record"}"#)
        );
        assert_ne!(
            a,
            fingerprint(r#"{"fields":[{"b":null,"a":2}],"type":"record"}"#)
        );
        assert_eq!(a.len(), 64);
    }
}
