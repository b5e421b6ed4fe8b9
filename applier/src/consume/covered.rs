//! The changes that one commits record covers, one after the other.
//!
//! A record that cannot be decoded is a change nevertheless where its table's policy is to set such
//! aside: its place is known, so order is kept, and all else goes on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use change::TableName;
use change::commit::CommitRecord;
use change::framing::{self, SchemaId};
use change::schema_change::SchemaChange;
use service::Health;
use tracing::warn;

use super::merge::{Merge, RangeEnded, Step, Taken};
use super::parts::Parts;
use crate::batch::Change;
use crate::config::Config;
use crate::conflicts::{Conflicts, Policy};
use crate::decode::{self, Action, Fields, Plan, Unreadable};
use crate::error::{CoveredError, Error, RecordPlace, RegistryError};
use crate::kafka::{DataConsumer, Fetched, LaneId};
use crate::metrics::Metrics;
use crate::schemas::{Holds, Schemas};

/// Reads what commits records cover.
pub(crate) struct Covered {
    data: DataConsumer,
    schemas: Schemas,
    conflicts: Conflicts,
    /// Schemas that the registry does not know, and when it said so last.
    unknown: HashMap<SchemaId, (Instant, RegistryError)>,
    registry: String,
    fields: Fields,
    parts: Parts,
    metrics: Metrics,
    schema_changes: String,
    messages: String,
}

/// What a commits record covers.
pub(crate) enum Item {
    Row(Change),
    Schema(Box<SchemaChange>, RecordPlace),
}

/// A registry of several nodes may learn of a schema later than capture, which has registered it
/// before it wrote the record.
const UNKNOWN_LIMIT: Duration = Duration::from_secs(10);
/// Between two questions for the same schema.
const ASK_INTERVAL: Duration = Duration::from_millis(500);

/// A commits record whose changes are being read.
pub(crate) struct Reading {
    merge: Merge<Fetched>,
    lanes: Vec<LaneId>,
}

impl Covered {
    /// # Errors
    /// When a client of Kafka or of the registry cannot be made.
    pub(crate) fn new(config: &Config, metrics: &Metrics, health: &Health) -> Result<Self, Error> {
        Ok(Self {
            data: DataConsumer::new(config, metrics, health)?,
            schemas: Schemas::new(config, health)?,
            conflicts: config.conflicts.clone(),
            unknown: HashMap::new(),
            registry: config.registry.clone(),
            fields: Fields::default(),
            parts: Parts::default(),
            metrics: metrics.clone(),
            schema_changes: config.prefix.schema_changes(),
            messages: config.prefix.messages(),
        })
    }

    /// Begins with a record, which comes after those that were read before. Messages change no table:
    /// their ranges are taken out of the record, and never fetched.
    ///
    /// # Errors
    /// When a range starts before what was read already.
    pub(crate) async fn begin(&mut self, record: &mut CommitRecord) -> Result<Reading, Error> {
        record
            .partitions
            .retain(|range| range.topic != self.messages);
        self.schemas.rest();
        Ok(Reading {
            lanes: self.data.cover(&record.partitions).await?,
            merge: Merge::new(record),
        })
    }

    /// What comes next of `record`; `None` after the last.
    ///
    /// # Errors
    /// When a covered record cannot be had or read.
    pub(crate) async fn next(
        &mut self,
        reading: &mut Reading,
        record: &CommitRecord,
    ) -> Result<Option<Item>, Error> {
        loop {
            match reading.merge.poll() {
                Step::Done => return Ok(None),
                Step::Need(lane) => self.feed(reading, record, lane).await?,
                Step::Next { lane, record: next } => {
                    let range = &record.partitions[lane];
                    let (topic, partition) = (range.topic.as_str(), range.partition);
                    if topic == self.schema_changes {
                        return schema_change(topic, partition, &next).map(Some);
                    }
                    if let Some(change) = self.change(topic, partition, next).await? {
                        return Ok(Some(Item::Row(change)));
                    }
                }
            }
        }
    }

    async fn feed(
        &mut self,
        reading: &mut Reading,
        record: &CommitRecord,
        lane: usize,
    ) -> Result<(), Error> {
        let range = &record.partitions[lane];
        let fetched = self.data.next(reading.lanes[lane], range).await?;
        let offset = fetched.offset;
        let head = match &fetched.value {
            None => None,
            Some(value) => {
                let (_, datum) = framing::split(value).map_err(|source| Error::Framing {
                    place: place(&range.topic, range.partition, offset),
                    source,
                })?;
                let head = decode::head(datum).map_err(|source| Error::Decode {
                    place: place(&range.topic, range.partition, offset),
                    source,
                })?;
                Some(head)
            }
        };
        match reading.merge.take(lane, offset, head, fetched) {
            Ok(Taken::Counted) => Ok(()),
            Ok(Taken::Orphan) => {
                self.metrics.orphans.inc();
                Ok(())
            }
            Err(RangeEnded { missing }) => Err(CoveredError::Missing {
                topic: range.topic.clone(),
                partition: range.partition,
                first_offset: range.first_offset,
                end_offset: range.end_offset,
                records: range.records,
                missing,
            }
            .into()),
        }
    }

    /// The change of a record; `None` of a part that is not the last.
    async fn change(
        &mut self,
        topic: &str,
        partition: i32,
        mut fetched: Fetched,
    ) -> Result<Option<Change>, Error> {
        loop {
            let value = fetched.value.as_deref().unwrap_or_default();
            let offset = fetched.offset;
            let place = || place(topic, partition, offset);
            let framed = framing::split(value).map_err(|source| Error::Framing {
                place: place(),
                source,
            });
            let (schema, datum) = framed?;
            let failed = |source| Error::Decode {
                place: place(),
                source,
            };
            let head = decode::head(datum).map_err(failed)?;
            let read = match self.holds(schema, topic).await? {
                Ok(Holds::Changes(plan)) => decode::action(&plan, datum, &mut self.fields)
                    .map(|action| (plan, action))
                    .map_err(failed),
                Ok(Holds::Parts) => {
                    let part = decode::part(datum).map_err(failed)?;
                    let joined = self.parts.join(offset, &part);
                    match joined.map_err(|source| Error::Part {
                        place: place(),
                        source,
                    })? {
                        Some(whole) => fetched = whole,
                        None => return Ok(None),
                    }
                    continue;
                }
                Err(unknown) => Err(unknown),
            };
            let (plan, action) = match read {
                Ok(read) => read,
                Err(error) => self.unreadable(schema, topic, value, error)?,
            };
            return Ok(Some(Change {
                position: head.position,
                plan,
                partition,
                offset,
                action,
            }));
        }
    }

    /// How records of a schema are read; the inner error, where nobody need wait for that to be known.
    async fn holds(
        &mut self,
        schema: SchemaId,
        topic: &str,
    ) -> Result<Result<Holds, Error>, Error> {
        if let Some((asked, source)) = self.unknown.get(&schema)
            && asked.elapsed() < ASK_INTERVAL
        {
            return Ok(Err(Error::Registry {
                url: self.registry.clone(),
                schema,
                source: source.clone(),
            }));
        }
        let mut begun = None;
        loop {
            match self.schemas.holds(schema, topic).await {
                Ok(holds) => return Ok(Ok(holds)),
                Err(Error::Registry { source, .. })
                    if source.is_unknown
                        && begun.get_or_insert_with(Instant::now).elapsed() < UNKNOWN_LIMIT
                        && self.waits_for(schema, topic) =>
                {
                    tokio::time::sleep(ASK_INTERVAL).await;
                }
                Err(error) if error.is_undecodable() => {
                    if let Error::Registry { source, .. } = &error {
                        let asked = (Instant::now(), source.clone());
                        self.unknown.insert(schema, asked);
                    }
                    return Ok(Err(error));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a schema that is not known may still turn up, before its records are set aside.
    fn waits_for(&self, schema: SchemaId, topic: &str) -> bool {
        let table = self.schemas.table(topic);
        !self.unknown.contains_key(&schema) && table.is_some_and(|table| self.sets_aside(&table))
    }

    /// A change of a record that `error` says cannot be decoded, if such are set aside.
    fn unreadable(
        &self,
        schema: SchemaId,
        topic: &str,
        value: &[u8],
        error: Error,
    ) -> Result<(Arc<Plan>, Action), Error> {
        match self.schemas.table(topic) {
            Some(table) if error.is_undecodable() && self.sets_aside(&table) => {
                let record = Box::new(Unreadable {
                    value: value.into(),
                    why: service::chain(&error),
                });
                warn!(
                    %table,
                    error = record.why,
                    "a record cannot be decoded: it is set aside, and all later changes of its table wait"
                );
                let plan = Plan::opaque(schema, topic, table);
                Ok((Arc::new(plan), Action::Unreadable(record)))
            }
            _ => Err(error),
        }
    }

    fn sets_aside(&self, table: &TableName) -> bool {
        self.conflicts.policy(table) == Policy::DeadLetter
    }
}

fn schema_change(topic: &str, partition: i32, fetched: &Fetched) -> Result<Item, Error> {
    let value = fetched.value.as_deref().unwrap_or_default();
    let place = || place(topic, partition, fetched.offset);
    let (_, datum) = framing::split(value).map_err(|source| Error::Framing {
        place: place(),
        source,
    })?;
    let change = SchemaChange::decode(datum).map_err(|source| Error::SchemaRecord {
        place: place(),
        source,
    })?;
    Ok(Item::Schema(Box::new(change), place()))
}

/// Reads the value of a record of the commits topic.
///
/// # Errors
/// When it is none.
pub(crate) fn commit_record(topic: &str, offset: i64, value: &[u8]) -> Result<CommitRecord, Error> {
    let (_, datum) = framing::split(value).map_err(|source| Error::Framing {
        place: place(topic, 0, offset),
        source,
    })?;
    CommitRecord::decode(datum).map_err(|source| Error::Commit {
        place: place(topic, 0, offset),
        source,
    })
}

fn place(topic: &str, partition: i32, offset: i64) -> RecordPlace {
    RecordPlace {
        topic: topic.to_owned(),
        partition,
        offset,
    }
}
