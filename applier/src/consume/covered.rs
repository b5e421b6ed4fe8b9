//! The changes that one commits record covers, one after the other.

use change::commit::CommitRecord;
use change::framing;
use change::schema_change::SchemaChange;
use service::Health;

use super::merge::{Merge, RangeEnded, Step, Taken};
use crate::batch::Change;
use crate::config::Config;
use crate::decode::{self, Fields};
use crate::error::{CoveredError, Error, RecordPlace};
use crate::kafka::{DataConsumer, Fetched, LaneId};
use crate::metrics::Metrics;
use crate::schemas::Schemas;

/// Reads what commits records cover.
pub(crate) struct Covered {
    data: DataConsumer,
    schemas: Schemas,
    fields: Fields,
    metrics: Metrics,
    schema_changes: String,
}

/// What a commits record covers.
pub(crate) enum Item {
    Row(Change),
    Schema(Box<SchemaChange>, RecordPlace),
}

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
            fields: Fields::default(),
            metrics: metrics.clone(),
            schema_changes: config.prefix.schema_changes(),
        })
    }

    /// Begins with a record, which comes after those that were read before.
    ///
    /// # Errors
    /// When a range starts before what was read already.
    pub(crate) fn begin(&mut self, record: &CommitRecord) -> Result<Reading, Error> {
        Ok(Reading {
            lanes: self.data.cover(&record.partitions)?,
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
                    let change = self.change(topic, partition, &next).await?;
                    return Ok(Some(Item::Row(change)));
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

    async fn change(
        &mut self,
        topic: &str,
        partition: i32,
        fetched: &Fetched,
    ) -> Result<Change, Error> {
        let value = fetched.value.as_deref().unwrap_or_default();
        let offset = fetched.offset;
        let framed = framing::split(value).map_err(|source| Error::Framing {
            place: place(topic, partition, offset),
            source,
        });
        let (schema, datum) = framed?;
        let plan = self.schemas.plan(schema, topic).await?;
        let decoded = decode::head(datum)
            .and_then(|head| Ok((head, decode::action(&plan, datum, &mut self.fields)?)));
        let (head, action) = decoded.map_err(|source| Error::Decode {
            place: place(topic, partition, offset),
            source,
        })?;
        Ok(Change {
            position: head.position,
            plan,
            partition,
            offset,
            action,
        })
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
