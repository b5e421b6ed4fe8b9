//! Reading the commits topic.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use service::Health;
use tracing::warn;

use super::{Consumer, Context, Trouble, Watermarking, check_reach};
use crate::config::Config;
use crate::error::Error;
use crate::metrics::{KAFKA, Metrics};

/// The commits topic from one offset on.
pub(crate) struct CommitsConsumer {
    consumer: Arc<Consumer>,
    topic: String,
    next_offset: i64,
    health: Health,
}

/// How often a topic that does not exist yet is looked for: capture makes it when it first runs.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

impl CommitsConsumer {
    /// Opens the topic at `offset`, or at its beginning; waits for the topic to exist.
    ///
    /// # Errors
    /// When the offset does not exist (any more), or the brokers cannot be asked.
    pub(crate) async fn open(
        config: &Config,
        offset: Option<i64>,
        metrics: &Metrics,
        health: &Health,
    ) -> Result<Self, Error> {
        let topic = config.prefix.commits();
        let options = [
            ("statistics.interval.ms", "2000".to_owned()),
            ("queued.max.messages.kbytes", "4096".to_owned()),
            ("fetch.max.bytes", "4194304".to_owned()),
        ];
        let context = Context {
            health: health.clone(),
            commits: Some((metrics.clone(), topic.clone())),
        };
        let consumer = Consumer::new(config, &options, context)?;
        let reach = loop {
            match consumer.watermarks(&topic, 0).await {
                Ok(reach) => break reach,
                Err(Watermarking::Failed(error)) => return Err(error),
                Err(Watermarking::Unknown) => {
                    let state = format!("topic {topic} does not exist yet: is capture running?");
                    if !health.failing().iter().any(|(_, known)| *known == state) {
                        warn!(topic, brokers = config.kafka, "waiting for the topic");
                    }
                    health.set(KAFKA, Err(state));
                    tokio::time::sleep(LOOK_INTERVAL).await;
                }
            }
        };
        let next_offset = offset.unwrap_or(reach.low);
        check_reach(&topic, 0, reach, next_offset, next_offset)?;
        let mut partitions = TopicPartitionList::new();
        partitions
            .add_partition_offset(&topic, 0, Offset::Offset(next_offset))
            .and_then(|()| consumer.assign(&partitions))
            .map_err(|error| consumer.failure("assign the commits topic", &error))?;
        health.set(KAFKA, Ok(()));
        Ok(Self {
            consumer: Arc::new(consumer),
            topic,
            next_offset,
            health: health.clone(),
        })
    }

    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// The next record with its offset. Cancel-safe.
    ///
    /// # Errors
    /// When retention has passed the offset, or this client cannot go on.
    pub(crate) async fn next(&mut self) -> Result<(i64, Vec<u8>), Error> {
        loop {
            let trouble = match self.consumer.recv().await {
                Ok(message) => {
                    self.health.set(KAFKA, Ok(()));
                    self.next_offset = message.offset() + 1;
                    if let Some(payload) = message.payload() {
                        return Ok((message.offset(), payload.to_vec()));
                    }
                    continue;
                }
                Err(error) => Trouble::of(&error),
            };
            match trouble {
                Trouble::Passing(text) => {
                    warn!(topic = self.topic, error = text, "Kafka is away");
                    self.health.set(KAFKA, Err(text));
                }
                Trouble::Offset => return Err(self.explain().await),
                Trouble::Broken(text) => return Err(self.consumer.broken(text)),
            }
        }
    }

    /// The offsets of the first record and of the one that will be written next.
    ///
    /// # Errors
    /// When the brokers cannot be asked.
    pub(crate) async fn reach(&self) -> Result<(i64, i64), Error> {
        match self.consumer.watermarks(&self.topic, 0).await {
            Ok(reach) => Ok((reach.low, reach.high)),
            Err(Watermarking::Failed(error)) => Err(error),
            Err(Watermarking::Unknown) => Err(self.consumer.broken("topic unknown".to_owned())),
        }
    }

    /// The offset of the first record that a data partition still has; beyond all when the topic is
    /// gone.
    ///
    /// # Errors
    /// When the brokers cannot be asked.
    pub(crate) async fn first_offset(&self, topic: &str, partition: i32) -> Result<i64, Error> {
        match self.consumer.watermarks(topic, partition).await {
            Ok(reach) => Ok(reach.low),
            Err(Watermarking::Failed(error)) => Err(error),
            Err(Watermarking::Unknown) => Ok(i64::MAX),
        }
    }

    async fn explain(&self) -> Error {
        let next = self.next_offset;
        match self.consumer.watermarks(&self.topic, 0).await {
            Ok(reach) => match check_reach(&self.topic, 0, reach, next, next) {
                Err(error) => error.into(),
                Ok(()) => self.consumer.broken("offset out of range".to_owned()),
            },
            Err(Watermarking::Failed(error)) => error,
            Err(Watermarking::Unknown) => self.consumer.broken("topic unknown".to_owned()),
        }
    }

    pub(crate) fn reporter(&self) -> OffsetReporter {
        OffsetReporter {
            consumer: Arc::clone(&self.consumer),
            topic: self.topic.clone(),
        }
    }
}

/// Tells the consumer group how far we are, for lag tools.
pub(crate) struct OffsetReporter {
    consumer: Arc<Consumer>,
    topic: String,
}

impl OffsetReporter {
    /// Nothing depends on it, so a failure is only worth a debug line.
    pub(crate) fn report(&self, applied_offset: i64) {
        let mut offsets = TopicPartitionList::new();
        let reported = offsets
            .add_partition_offset(&self.topic, 0, Offset::Offset(applied_offset + 1))
            .and_then(|()| self.consumer.commit(&offsets, CommitMode::Async));
        if let Err(error) = reported {
            tracing::debug!(%error, "report the applied offset to the group");
        }
    }
}
