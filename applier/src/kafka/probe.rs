//! Whether a partition has a record from some offset on.

use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError as ClientError;
use rdkafka::{Offset, TopicPartitionList};
use service::Health;
use tokio::time::timeout;

use super::{ANSWER_LIMIT, Consumer, Context};
use crate::config::Config;
use crate::error::Error;

pub(super) enum Finding {
    Record,
    /// The end of the partition came first.
    NoRecord,
    NoAnswer,
}

/// Reads with a client of its own, so that the end of the partition, which the client reports
/// without naming the topic, is that of no other.
pub(super) async fn probe(
    config: &Config,
    topic: &str,
    partition: i32,
    offset: i64,
    health: &Health,
) -> Result<Finding, Error> {
    let options = [
        ("enable.partition.eof", "true".to_owned()),
        ("fetch.max.bytes", "1048576".to_owned()),
    ];
    let context = Context {
        health: health.clone(),
        commits: None,
    };
    let consumer = Consumer::new(config, &options, context)?;
    let mut partitions = TopicPartitionList::new();
    partitions
        .add_partition_offset(topic, partition, Offset::Offset(offset))
        .and_then(|()| consumer.assign(&partitions))
        .map_err(|error| consumer.failure("assign a partition", &error))?;
    Ok(match timeout(ANSWER_LIMIT, consumer.recv()).await {
        Ok(Ok(_)) => Finding::Record,
        Ok(Err(ClientError::PartitionEOF(_))) => Finding::NoRecord,
        Ok(Err(_)) | Err(_) => Finding::NoAnswer,
    })
}
