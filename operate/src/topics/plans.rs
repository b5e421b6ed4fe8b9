//! How records are read, by the id of the schema they were written with.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use change::envelope::{KeyColumns, SchemaError, is_part_schema, key_columns, relation_of};
use change::framing::SchemaId;
use change::relation::Relation;

use crate::registry::Registry;

/// What was learnt of schemas; may be kept over many questions.
#[derive(Clone)]
pub struct Plans {
    registry: Registry,
    known: Arc<Mutex<Known>>,
}

/// What the values of a schema are.
#[derive(Clone)]
pub(super) enum Holds {
    Changes(Arc<Relation>),
    /// Of records that are longer than one may be.
    Parts,
    /// No changes, and why not: messages, or what somebody else has written.
    Other(Arc<SchemaError>),
}

#[derive(Default)]
struct Known {
    values: HashMap<SchemaId, Holds>,
    keys: HashMap<SchemaId, Arc<KeyColumns>>,
}

/// So that memory stays bounded; a pipeline has as many schemas as its tables had shapes.
const KNOWN_MAX: usize = 5_000;

impl Plans {
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            known: Arc::default(),
        }
    }

    /// What the values of a schema are.
    ///
    /// # Errors
    /// When the registry does not tell.
    pub(super) async fn holds(&self, id: SchemaId) -> anyhow::Result<Holds> {
        let known = self.known().values.get(&id).cloned();
        if let Some(holds) = known {
            return Ok(holds);
        }
        let schema = self.registry.schema(id).await?;
        let holds = match is_part_schema(&schema) {
            true => Holds::Parts,
            false => match relation_of(&schema) {
                Ok(relation) => Holds::Changes(Arc::new(relation)),
                Err(error) => Holds::Other(Arc::new(error)),
            },
        };
        let mut known = self.known();
        if known.values.len() >= KNOWN_MAX {
            known.values.clear();
        }
        known.values.insert(id, holds.clone());
        Ok(holds)
    }

    /// The columns of the keys that have the schema.
    ///
    /// # Errors
    /// When the registry does not tell, or the schema is none of ours.
    pub(super) async fn key(&self, id: SchemaId) -> anyhow::Result<Arc<KeyColumns>> {
        let known = self.known().keys.get(&id).map(Arc::clone);
        if let Some(columns) = known {
            return Ok(columns);
        }
        let columns = Arc::new(key_columns(&self.registry.schema(id).await?)?);
        let mut known = self.known();
        if known.keys.len() >= KNOWN_MAX {
            known.keys.clear();
        }
        known.keys.insert(id, Arc::clone(&columns));
        Ok(columns)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        // No code that holds the lock can panic half-way through a change.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
