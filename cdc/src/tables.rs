//! The tables whose changes are captured: their plans, schemas and topics.

use std::collections::{HashMap, HashSet};
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
use crate::error::Error;
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
    topics_made: HashSet<String>,
    known: HashMap<Oid, Known>,
    /// What tables were called before their schema was renamed. That waits for nobody: transactions
    /// that were open then are decoded by the catalog of their time, which has the former name.
    former: HashMap<Oid, HashSet<TableName>>,
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
            topics_made: HashSet::new(),
            known: HashMap::new(),
            former: HashMap::new(),
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

    /// Makes the topics of many tables at once: one by one takes minutes for thousands.
    ///
    /// # Errors
    /// When Kafka is away or refuses, or for a table's name.
    pub(crate) async fn make_topics(&mut self, tables: &[&TableName]) -> Result<(), Error> {
        let topics = tables.iter().map(|table| self.topics.data(table));
        let topics = topics.collect::<Result<Vec<String>, _>>();
        let topics = topics.map_err(TableError::from)?;
        let specs: Vec<TopicSpec<'_>> = topics.iter().map(|topic| self.topic(topic)).collect();
        self.kafka.ensure_topics(&specs).await?;
        self.topics_made.extend(topics);
        Ok(())
    }

    fn topic<'a>(&self, name: &'a str) -> TopicSpec<'a> {
        TopicSpec {
            name,
            partitions: self.partitions,
            replication_factor: self.replication_factor,
            retention: self.retention,
        }
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
        let (relation, before) = self.describe(client, &shape).await?;
        let before = before.filter(|_| acceptance == Acceptance::Compatible);
        let plan = self.plan(relation, before.as_ref()).await?;
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

    /// Takes note that a table's schema was renamed, and so the table; its shape under that name, where
    /// it is captured under another until now.
    pub(crate) fn schema_renamed(&mut self, oid: Oid, name: &TableName) -> Option<Shape> {
        let Some(Known::Captured { shape, .. }) = self.known.get(&oid) else {
            return None;
        };
        if shape.table == *name {
            return None;
        }
        let former = self.former.entry(oid).or_default();
        former.insert(shape.table.clone());
        former.remove(name);
        Some(Shape {
            table: name.clone(),
            ..shape.clone()
        })
    }

    /// Takes note that a table itself was renamed or moved, for which it waits for all who use it.
    pub(crate) fn renamed(&mut self, oid: Oid) {
        self.former.remove(&oid);
    }

    /// A description by the name that the table has by now.
    pub(crate) fn by_present_name(&self, shape: Shape) -> Shape {
        let is_former = |names: &HashSet<TableName>| names.contains(&shape.table);
        match (self.former.get(&shape.oid), self.known.get(&shape.oid)) {
            (Some(names), Some(Known::Captured { shape: known, .. })) if is_former(names) => {
                Shape {
                    table: known.table.clone(),
                    ..shape
                }
            }
            _ => shape,
        }
    }

    /// Gives columns of a table, by their names, types of other names; what the types are stays. Nobody asks
    /// the catalog, which is ahead.
    ///
    /// # Errors
    /// When the registry or Kafka does not agree.
    pub(crate) async fn rename_types(
        &mut self,
        oid: Oid,
        renamed: &[(&str, &str)],
    ) -> Result<(), TableError> {
        let Some(Known::Captured { plan, .. }) = self.known.get(&oid) else {
            return Ok(());
        };
        let mut relation = plan.relation.clone();
        for column in &mut relation.columns {
            if let Some((_, type_name)) = renamed.iter().find(|(name, _)| *name == column.name) {
                column.pg_type.name = (*type_name).to_owned();
            }
        }
        let renamed = self.plan(relation, None).await?;
        if let Some(Known::Captured { plan, .. }) = self.known.get_mut(&oid) {
            *plan = Arc::new(renamed);
        }
        Ok(())
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

    /// A table as the catalog and its description have it, and as the records before have it.
    async fn describe(
        &self,
        client: &Client,
        shape: &Shape,
    ) -> Result<(Relation, Option<Relation>), TableError> {
        let topic = self.topics.data(&shape.table)?;
        let latest = self.latest(&topic, &shape.table).await?;
        let known = match self.known.get(&shape.oid) {
            Some(Known::Captured { plan, .. }) => Some(&plan.relation),
            Some(Known::Bookkeeping | Known::Refused) | None => latest.as_ref(),
        };
        let relation = catalog::describe(client, shape, known).await;
        let relation = relation.map_err(|source| TableError::Catalog {
            table: shape.table.clone(),
            source,
        })?;
        Ok((relation, latest))
    }

    async fn plan(
        &self,
        relation: Relation,
        before: Option<&Relation>,
    ) -> Result<TablePlan, TableError> {
        let topic = self.topics.data(&relation.table)?;
        let prefix = self.topics.prefix();
        let key = key_schema(&relation, prefix);
        let key = self
            .register(&relation.table, &key_subject(&topic), &key)
            .await?;
        if let Some(before) = before {
            check_scales(before, &relation)?;
        }
        let value = value_schema(&relation, prefix);
        let value = self
            .register(&relation.table, &value_subject(&topic), &value)
            .await?;
        if !self.topics_made.contains(&topic) {
            let made = self.kafka.ensure_topics(&[self.topic(&topic)]).await;
            made.map_err(|source| TableError::Kafka {
                table: relation.table.clone(),
                source,
            })?;
        }
        Ok(TablePlan::new(&topic, relation, Schemas { key, value }))
    }

    /// The table as the records before have it; none where there are none, or none of ours.
    async fn latest(&self, topic: &str, table: &TableName) -> Result<Option<Relation>, TableError> {
        let latest = self.registry.latest(&value_subject(topic)).await;
        let latest = latest.map_err(|source| TableError::Registry {
            table: table.clone(),
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
