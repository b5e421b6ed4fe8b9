//! The tables whose changes are captured: their plans, schemas and topics.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use change::TableName;
use change::envelope::{key_schema, relation_of, value_schema};
use change::relation::Relation;
use change::topic::{TopicNameError, Topics, key_subject, value_subject};
use tokio_postgres::Client;

use crate::catalog::{self, CatalogError, Shape};
use crate::config::Config;
use crate::encode::{Schemas, TablePlan};
use crate::kafka::{Kafka, KafkaFault, TopicSpec};
use crate::registry::{Registry, RegistryError};
use crate::wire::Oid;

/// Everything known of tables so far, by OID.
pub(crate) struct Tables {
    registry: Registry,
    kafka: Arc<Kafka>,
    topics: Topics,
    partitions: i32,
    replication_factor: i32,
    retention: Duration,
    known: HashMap<Oid, Known>,
    /// Tables whose changes are left out, with the reasons.
    refused: HashMap<TableName, String>,
}

enum Known {
    Captured {
        shape: Shape,
        plan: Arc<TablePlan>,
    },
    /// Of our own; its changes are received, as a publication for all tables has them, and end here.
    Bookkeeping,
    /// Its schema was refused, and its changes are left out.
    Refused,
}

/// What is known of a table by now.
pub(crate) struct Learned {
    pub plan: Arc<TablePlan>,
    /// As records before have it; none where it is known that nothing has changed.
    pub before: Option<Relation>,
}

/// Which schemas of a table are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acceptance {
    /// Those by which readers of the schema before read the same values.
    Compatible,
    /// Those that the registry accepts: somebody has asked for the table to be taken again.
    Asked,
}

/// Why a table's changes cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("look up table {table}")]
    Catalog {
        table: TableName,
        source: CatalogError,
    },
    #[error("name the topic of a table")]
    Topic(#[from] TopicNameError),
    #[error("make the topic of table {table}")]
    Kafka {
        table: TableName,
        source: KafkaFault,
    },
    #[error("register the schemas of table {table}")]
    Registry {
        table: TableName,
        source: RegistryError,
    },
    #[error(
        "the scale of column {column} of table {table} changes from {before} to {after}: readers of \
         the schema before would read other values"
    )]
    Rescaled {
        table: TableName,
        column: String,
        before: u16,
        after: u16,
    },
    #[error("a change of relation {0} came before its description")]
    Unknown(Oid),
}

impl TableError {
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Catalog { source, .. } => source.is_transient(),
            Self::Kafka { source, .. } => source.is_transient(),
            Self::Registry { source, .. } => source.is_transient(),
            Self::Topic(_) | Self::Rescaled { .. } | Self::Unknown(_) => false,
        }
    }

    /// Whether it concerns this table only, and somebody else has to agree.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Registry { source, .. } => matches!(source, RegistryError::Refused { .. }),
            Self::Rescaled { .. } => true,
            Self::Catalog { .. } | Self::Topic(_) | Self::Kafka { .. } | Self::Unknown(_) => false,
        }
    }
}

impl Tables {
    pub(crate) fn new(config: &Config, registry: Registry, kafka: Arc<Kafka>) -> Self {
        Self {
            registry,
            kafka,
            topics: config.prefix.clone(),
            partitions: config.partitions,
            replication_factor: config.replication_factor,
            retention: Duration::from_secs(u64::from(config.retention_hours) * 3600),
            known: HashMap::new(),
            refused: HashMap::new(),
        }
    }

    /// Leaves these tables out.
    pub(crate) fn leave_out_all(&mut self, refused: HashMap<TableName, String>) {
        self.refused = refused;
    }

    /// Why a table is left out.
    pub(crate) fn refusal_of(&self, table: &TableName) -> Option<String> {
        self.refused.get(table).cloned()
    }

    pub(crate) fn refuse(&mut self, oid: Oid, table: TableName, reason: String) {
        self.refused.insert(table, reason);
        self.leave_out(oid);
    }

    pub(crate) fn leave_out(&mut self, oid: Oid) {
        self.known.insert(oid, Known::Refused);
    }

    pub(crate) fn accept(&mut self, table: &TableName) {
        self.refused.remove(table);
    }

    /// Takes note of how a table looks from here on. Its schemas are registered, which checks their
    /// compatibility, and its topic is made before the first record.
    ///
    /// # Errors
    /// When the catalog, the registry or Kafka does not agree.
    pub(crate) async fn learn(
        &mut self,
        client: &Client,
        shape: Shape,
        acceptance: Acceptance,
    ) -> Result<Learned, TableError> {
        if let Some(Known::Captured { shape: known, plan }) = self.known.get(&shape.oid)
            && *known == shape
        {
            return Ok(Learned {
                plan: Arc::clone(plan),
                before: None,
            });
        }
        let (plan, before) = self.plan(client, &shape, acceptance).await?;
        let plan = Arc::new(plan);
        let oid = shape.oid;
        tracing::info!(table = %shape.table, topic = %plan.topic, "capturing table");
        self.known.insert(
            oid,
            Known::Captured {
                shape,
                plan: Arc::clone(&plan),
            },
        );
        Ok(Learned { plan, before })
    }

    /// Whether the table looked otherwise until now.
    pub(crate) fn is_news(&self, shape: &Shape) -> bool {
        match self.known.get(&shape.oid) {
            Some(Known::Captured { shape: known, .. }) => known != shape,
            Some(Known::Bookkeeping | Known::Refused) | None => false,
        }
    }

    /// The shape of a table that is captured under another name until now.
    pub(crate) fn under(&self, oid: Oid, name: &TableName) -> Option<Shape> {
        match self.known.get(&oid) {
            Some(Known::Captured { shape, .. }) if shape.table != *name => Some(Shape {
                table: name.clone(),
                ..shape.clone()
            }),
            Some(Known::Captured { .. } | Known::Bookkeeping | Known::Refused) | None => None,
        }
    }

    /// Takes note of a table that is not captured.
    pub(crate) fn pass_over(&mut self, oid: Oid) {
        self.known.insert(oid, Known::Bookkeeping);
    }

    /// The plan of a table whose changes are captured; none for bookkeeping, and for what is left out.
    ///
    /// # Errors
    /// When the relation was never described.
    pub(crate) fn plan_of(&self, oid: Oid) -> Result<Option<Arc<TablePlan>>, TableError> {
        match self.known.get(&oid) {
            Some(Known::Captured { plan, .. }) => Ok(Some(Arc::clone(plan))),
            Some(Known::Bookkeeping | Known::Refused) => Ok(None),
            None => Err(TableError::Unknown(oid)),
        }
    }

    async fn plan(
        &self,
        client: &Client,
        shape: &Shape,
        acceptance: Acceptance,
    ) -> Result<(TablePlan, Option<Relation>), TableError> {
        let table = || shape.table.clone();
        let relation =
            catalog::describe(client, shape)
                .await
                .map_err(|source| TableError::Catalog {
                    table: table(),
                    source,
                })?;
        let topic = self.topics.data(&shape.table)?;
        let prefix = self.topics.prefix();
        let key = key_schema(&relation, prefix);
        let key = self
            .register(&shape.table, &key_subject(&topic), &key)
            .await?;
        let before = match acceptance {
            Acceptance::Compatible => self.latest(&topic, &relation).await?,
            Acceptance::Asked => None,
        };
        if let Some(before) = &before {
            check_scales(before, &relation)?;
        }
        let value = value_schema(&relation, prefix);
        let value = self
            .register(&shape.table, &value_subject(&topic), &value)
            .await?;
        self.kafka
            .ensure_topic(&TopicSpec {
                name: &topic,
                partitions: self.partitions,
                replication_factor: self.replication_factor,
                retention: self.retention,
            })
            .await
            .map_err(|source| TableError::Kafka {
                table: table(),
                source,
            })?;
        let plan = TablePlan::new(&topic, relation, Schemas { key, value });
        Ok((plan, before))
    }

    /// The table as the records before have it; none where there are none, or none of ours.
    async fn latest(
        &self,
        topic: &str,
        relation: &Relation,
    ) -> Result<Option<Relation>, TableError> {
        let latest = self.registry.latest(&value_subject(topic)).await;
        let latest = latest.map_err(|source| TableError::Registry {
            table: relation.table.clone(),
            source,
        })?;
        Ok(latest.and_then(|text| relation_of(&text).ok()))
    }

    async fn register(
        &self,
        table: &TableName,
        subject: &str,
        schema: &str,
    ) -> Result<change::framing::SchemaId, TableError> {
        let registered = self.registry.register(subject, schema).await;
        registered.map_err(|source| TableError::Registry {
            table: table.clone(),
            source,
        })
    }
}

/// Avro's rules let the scale of a decimal change, and readers read other numbers then.
fn check_scales(before: &Relation, relation: &Relation) -> Result<(), TableError> {
    for column in &relation.columns {
        let old = before.columns.iter().find(|old| old.name == column.name);
        let scales = old
            .and_then(|old| old.mapping.scale())
            .zip(column.mapping.scale());
        if let Some((before, after)) = scales.filter(|(before, after)| before != after) {
            return Err(TableError::Rescaled {
                table: relation.table.clone(),
                column: column.name.clone(),
                before,
                after,
            });
        }
    }
    Ok(())
}
