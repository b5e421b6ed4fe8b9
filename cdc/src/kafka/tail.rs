//! Reading the end of a topic.

use change::topic::RECORD_BYTES_MAX;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::{Kafka, KafkaFault, REQUEST_LIMIT};

impl Kafka {
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
        let settings = self.settings.clone();
        let (topic, brokers) = (topic.to_owned(), self.brokers.clone());
        tokio::task::spawn_blocking(move || tail(settings, &topic, end, &brokers))
            .await
            .map_err(KafkaFault::Task)?
    }
}

/// How many records the end of a topic is judged by.
const TAIL_RECORDS: i64 = 100;

/// Blocks. Offsets may have gaps (compaction, control records), so it steps back until there is a
/// record.
fn tail(
    mut settings: ClientConfig,
    topic: &str,
    end: Option<i64>,
    brokers: &str,
) -> Result<Vec<Vec<u8>>, KafkaFault> {
    let fault = |source| KafkaFault::Unavailable {
        brokers: brokers.to_owned(),
        step: "answer a read of the commits topic",
        source,
    };
    let consumer: BaseConsumer = settings
        .set("group.id", "lockstep-cdc")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.message.max.bytes", RECORD_BYTES_MAX.to_string())
        .create()
        .map_err(KafkaFault::Setting)?;
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
        let values = read_to(&consumer, end).map_err(fault)?;
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
