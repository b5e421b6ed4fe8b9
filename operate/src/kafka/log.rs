//! Reading what stands in topics, a bounded piece at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::clients::Lease;
use super::{Kafka, unreachable};

/// A connection for one question that takes several steps; all of them together are given up when
/// its time is over.
#[derive(Clone)]
pub struct Log {
    consumer: Arc<Lease>,
    /// For one step.
    limit: Duration,
    deadline: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionName {
    pub topic: String,
    pub partition: i32,
}

/// The offsets that a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    pub first_offset: i64,
    /// One past the last record's.
    pub end_offset: i64,
}

/// A record as it stands in a topic.
#[derive(Clone)]
pub struct RawRecord {
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since 1970-01-01 UTC.
    pub time_ms: Option<i64>,
    pub key: Option<Vec<u8>>,
    /// None in a tombstone.
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

/// How much is read at once.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    pub from: i64,
    /// Exclusive; at most the partition's end.
    pub until: i64,
    pub records_max: usize,
    /// The last record may exceed it.
    pub bytes_max: usize,
}

/// What was read of a [`Piece`].
#[derive(Clone)]
pub struct Stretch {
    pub records: Vec<RawRecord>,
    /// Up to here, exclusive, these are all.
    pub end_offset: i64,
}

impl Kafka {
    /// # Errors
    /// When no client can be made.
    pub fn log(&self, patience: Duration) -> anyhow::Result<Log> {
        Ok(Log {
            consumer: Arc::new(self.clients.consumer()?),
            limit: self.limit,
            deadline: Instant::now() + patience,
        })
    }
}

impl Log {
    /// The topics whose names start with `start`, with the number of their partitions, by name.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub async fn topics(&self, start: &str) -> anyhow::Result<Vec<(String, i32)>> {
        let start = start.to_owned();
        self.blocking(move |consumer, left| {
            let metadata = consumer.fetch_metadata(None, left).map_err(unreachable)?;
            let topics = metadata.topics().iter();
            let mut topics: Vec<(String, i32)> = topics
                .filter(|topic| topic.name().starts_with(&start))
                .map(|topic| (topic.name().to_owned(), count(topic.partitions().len())))
                .collect();
            topics.sort();
            Ok(topics)
        })
        .await
    }

    /// How many partitions a topic has; 0 when there is no such topic.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub async fn partitions(&self, topic: &str) -> anyhow::Result<i32> {
        let topic = topic.to_owned();
        self.blocking(move |consumer, left| {
            let metadata = consumer.fetch_metadata(Some(&topic), left);
            let metadata = metadata.map_err(unreachable)?;
            let known = metadata.topics().iter().find(|it| it.name() == topic);
            let known = known.filter(|it| it.error().is_none());
            Ok(known.map_or(0, |it| count(it.partitions().len())))
        })
        .await
    }

    /// Which offsets each partition holds; a partition that does not answer is missing.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub async fn reach(
        &self,
        partitions: &[PartitionName],
    ) -> anyhow::Result<HashMap<PartitionName, Reach>> {
        // ListOffsets takes these two in place of a time.
        let (first, end) = tokio::try_join!(
            self.offsets(partitions, Offset::Beginning),
            self.offsets(partitions, Offset::End),
        )?;
        let reach = first.into_iter().filter_map(|(name, first_offset)| {
            let end_offset = *end.get(&name)?;
            let reach = Reach {
                first_offset: first_offset.min(end_offset),
                end_offset,
            };
            Some((name, reach))
        });
        Ok(reach.collect())
    }

    /// The first offset of each partition whose record is not older than `time_ms`; a partition
    /// without such a record is missing.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub async fn offsets_at(
        &self,
        partitions: &[PartitionName],
        time_ms: i64,
    ) -> anyhow::Result<HashMap<PartitionName, i64>> {
        self.offsets(partitions, Offset::Offset(time_ms.max(0)))
            .await
    }

    /// A piece of one partition.
    ///
    /// # Errors
    /// When no broker answers in time, or retention has passed the offset.
    pub async fn read(&self, from: PartitionName, piece: Piece) -> anyhow::Result<Stretch> {
        if piece.from >= piece.until {
            return Ok(Stretch {
                records: Vec::new(),
                end_offset: piece.until,
            });
        }
        let deadline = self.deadline;
        self.blocking(move |consumer, _| read(consumer, &from, piece, deadline))
            .await
    }

    /// The times of single records, all asked for at once; those that do not come in time are missing.
    ///
    /// # Errors
    /// When the brokers cannot be asked.
    pub async fn times(
        &self,
        records: Vec<(PartitionName, i64)>,
    ) -> anyhow::Result<HashMap<PartitionName, i64>> {
        let deadline = self.deadline;
        self.blocking(move |consumer, _| times(consumer, &records, deadline))
            .await
    }

    pub fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    async fn offsets(
        &self,
        partitions: &[PartitionName],
        wanted: Offset,
    ) -> anyhow::Result<HashMap<PartitionName, i64>> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for name in partitions {
            list.add_partition_offset(&name.topic, name.partition, wanted)?;
        }
        if partitions.is_empty() {
            return Ok(HashMap::new());
        }
        self.blocking(move |consumer, left| {
            let answer = consumer.offsets_for_times(list, left);
            let answer = answer.map_err(unreachable)?;
            let known = answer.elements().into_iter().filter_map(|it| {
                let Offset::Offset(offset) = it.offset() else {
                    return None;
                };
                it.error().is_ok().then(|| {
                    let name = PartitionName {
                        topic: it.topic().to_owned(),
                        partition: it.partition(),
                    };
                    (name, offset)
                })
            });
            Ok(known.collect())
        })
        .await
    }

    /// Where the applier's group is in a partition; `None` when it never said.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub async fn committed(&self, at: PartitionName) -> anyhow::Result<Option<i64>> {
        self.blocking(move |consumer, left| {
            let mut list = TopicPartitionList::new();
            list.add_partition(&at.topic, at.partition);
            let committed = consumer.committed_offsets(list, left);
            let committed = committed.map_err(unreachable)?;
            let offset = committed.find_partition(&at.topic, at.partition);
            Ok(match offset.map(|it| it.offset()) {
                Some(Offset::Offset(offset)) => Some(offset),
                _ => None,
            })
        })
        .await
    }

    /// The client blocks its thread, so each step gets one.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&BaseConsumer, Duration) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let consumer = Arc::clone(&self.consumer);
        let left = self.deadline.saturating_duration_since(Instant::now());
        let left = left.min(self.limit);
        let asked = tokio::task::spawn_blocking(move || ask(&consumer, left));
        asked.await.context("ask Kafka")?
    }
}

fn read(
    consumer: &BaseConsumer,
    from: &PartitionName,
    piece: Piece,
    deadline: Instant,
) -> anyhow::Result<Stretch> {
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(&from.topic, from.partition, Offset::Offset(piece.from))?;
    consumer.assign(&assignment)?;
    let (mut records, mut bytes) = (Vec::new(), 0);
    let mut end_offset = piece.until;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let message = match consumer.poll(left) {
            Some(Ok(message)) => message,
            Some(Err(KafkaError::PartitionEOF(_))) => break,
            Some(Err(error)) if is_passing(&error) => continue,
            Some(Err(error)) => {
                return Err(error).with_context(|| format!("read topic {}", from.topic));
            }
            None => bail!("Kafka did not answer in time"),
        };
        if message.offset() >= piece.until {
            break;
        }
        let record = raw(&message);
        bytes += record.bytes();
        records.push(record);
        let is_last = message.offset() + 1 >= piece.until;
        if is_last || records.len() >= piece.records_max || bytes >= piece.bytes_max {
            end_offset = message.offset() + 1;
            break;
        }
    }
    consumer.unassign()?;
    Ok(Stretch {
        records,
        end_offset,
    })
}

fn times(
    consumer: &BaseConsumer,
    records: &[(PartitionName, i64)],
    deadline: Instant,
) -> anyhow::Result<HashMap<PartitionName, i64>> {
    let mut times = HashMap::new();
    if records.is_empty() {
        return Ok(times);
    }
    let mut assignment = TopicPartitionList::new();
    for (name, offset) in records {
        assignment.add_partition_offset(&name.topic, name.partition, Offset::Offset(*offset))?;
    }
    consumer.assign(&assignment)?;
    // A partition that ends before its record, because that was deleted since, says so.
    let mut answers = 0;
    while answers < records.len() {
        let left = deadline.saturating_duration_since(Instant::now());
        match consumer.poll(left) {
            Some(Ok(message)) => {
                let name = PartitionName {
                    topic: message.topic().to_owned(),
                    partition: message.partition(),
                };
                if let Some(time) = message.timestamp().to_millis() {
                    times.insert(name, time);
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => answers += 1,
            Some(Err(_)) => {}
            None => break,
        }
    }
    consumer.unassign()?;
    Ok(times)
}

/// The client goes on by itself after these.
fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown)
    )
}

fn raw(message: &BorrowedMessage<'_>) -> RawRecord {
    let headers = message.headers().map(|headers| {
        let headers = headers.iter();
        let header = headers.map(|it| (it.key.to_owned(), it.value.unwrap_or_default().to_vec()));
        header.collect()
    });
    RawRecord {
        partition: message.partition(),
        offset: message.offset(),
        time_ms: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
    }
}

impl RawRecord {
    pub fn bytes(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        length(&self.key) + length(&self.value)
    }
}

fn count(partitions: usize) -> i32 {
    i32::try_from(partitions).unwrap_or(i32::MAX)
}
