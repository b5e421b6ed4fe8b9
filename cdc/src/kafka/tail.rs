//! Reading the end of a topic.

use std::sync::Arc;
use std::time::Duration;

use change::topic::RECORD_BYTES_MAX;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Handle;

use super::{Kafka, KafkaFault, REQUEST_LIMIT};

/// Reads the ends of topics. A client of its own: of a new one the first answer takes long.
pub(crate) struct TailReader {
    brokers: String,
    /// Taken by drop only.
    consumer: Option<Arc<BaseConsumer>>,
}

impl TailReader {
    /// # Errors
    /// When a setting is refused. Nothing is sent yet.
    pub(crate) fn new(kafka: &Kafka) -> Result<Self, KafkaFault> {
        let consumer: BaseConsumer = kafka
            .settings
            .clone()
            .set("group.id", "lockstep-cdc")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            // The next question waits for the fetch at the end that is under way.
            .set("fetch.wait.max.ms", "10")
            .set("fetch.message.max.bytes", RECORD_BYTES_MAX.to_string())
            .create()
            .map_err(KafkaFault::Setting)?;
        Ok(Self {
            brokers: kafka.brokers.clone(),
            consumer: Some(Arc::new(consumer)),
        })
    }

    /// The values of the last records in the topic's partition 0, or of the last before `end`: up to
    /// [`TAIL_RECORDS`], none where there is none at all.
    ///
    /// # Errors
    /// When Kafka does not answer.
    pub(crate) async fn tail(
        &self,
        topic: &str,
        end: Option<i64>,
    ) -> Result<Vec<Vec<u8>>, KafkaFault> {
        let (topic, brokers) = (topic.to_owned(), self.brokers.clone());
        let consumer = self.consumer.clone().expect("taken by drop only");
        let read = tokio::task::spawn_blocking(move || {
            // Errors of the time since the last read say nothing of this one.
            while consumer.poll(Duration::ZERO).is_some() {}
            let read = tail(&consumer, &topic, end, &brokers);
            // Nothing is fetched in advance.
            let rested = consumer.unassign().map_err(KafkaFault::Setting);
            read.and_then(|values| rested.map(|()| values))
        });
        read.await.map_err(KafkaFault::Task)?
    }
}

impl Drop for TailReader {
    fn drop(&mut self) {
        // Closing waits for librdkafka's threads. Without a runtime there is nobody to hold up.
        if let (Some(consumer), Ok(runtime)) = (self.consumer.take(), Handle::try_current()) {
            runtime.spawn_blocking(move || drop(consumer));
        }
    }
}

/// How many records the end of a topic is judged by.
const TAIL_RECORDS: i64 = 100;

/// Blocks. Offsets may have gaps (compaction, control records), so it steps back until there is a
/// record.
fn tail(
    consumer: &BaseConsumer,
    topic: &str,
    end: Option<i64>,
    brokers: &str,
) -> Result<Vec<Vec<u8>>, KafkaFault> {
    let fault = |source| KafkaFault::Unavailable {
        brokers: brokers.to_owned(),
        step: "answer a read of the commits topic",
        source,
    };
    let (low, high) = consumer
        .fetch_watermarks(topic, 0, REQUEST_LIMIT)
        .map_err(fault)?;
    let end = end.unwrap_or(high);
    let mut start = end;
    while start > low {
        start = (start - TAIL_RECORDS).max(low);
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(topic, 0, Offset::Offset(start))
            .map_err(KafkaFault::Setting)?;
        consumer.assign(&assignment).map_err(fault)?;
        let values = read_to(consumer, end).map_err(fault)?;
        if !values.is_empty() {
            return Ok(values);
        }
    }
    Ok(Vec::new())
}

/// The values from where the consumer stands to before `end`.
fn read_to(consumer: &BaseConsumer, end: i64) -> Result<Vec<Vec<u8>>, KafkaError> {
    let mut values = Vec::new();
    loop {
        match consumer.poll(REQUEST_LIMIT) {
            Some(Ok(message)) if message.offset() >= end => return Ok(values),
            Some(Ok(message)) => {
                values.extend(message.payload().map(<[u8]>::to_vec));
                if message.offset() + 1 >= end {
                    return Ok(values);
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(values),
            Some(Err(error)) => return Err(error),
            None => return Err(KafkaError::NoMessageReceived),
        }
    }
}
