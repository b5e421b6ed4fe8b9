//! What stands in a topic.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// A record as any consumer gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// Those whose values are text.
    pub headers: HashMap<String, String>,
    pub timestamp_ms: i64,
}

const LIMIT: Duration = Duration::from_secs(20);

/// How far a partition reaches. One that was made just now may have no leader yet.
fn reach(consumer: &BaseConsumer, topic: &str, partition: i32) -> (i64, i64) {
    let deadline = Instant::now() + LIMIT;
    loop {
        match consumer.fetch_watermarks(topic, partition, LIMIT) {
            Ok(reach) => return reach,
            Err(error) => assert!(
                Instant::now() < deadline,
                "ask how far partition {partition} of {topic} reaches: {error}"
            ),
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// All that is in a topic now, each partition in its order.
///
/// # Panics
/// When the topic is not there, or cannot be read.
pub fn records(bootstrap: &str, topic: &str) -> Vec<Record> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "reader")
        .create()
        .expect("set up a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), LIMIT);
    let metadata = metadata.expect("ask for the topic's partitions");
    let mut ends = HashMap::new();
    let mut assignment = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        let (low, high) = reach(&consumer, topic, partition.id());
        if low < high {
            ends.insert(partition.id(), high);
            let added = assignment.add_partition_offset(topic, partition.id(), Offset::Offset(low));
            added.expect("name the partition");
        }
    }
    consumer.assign(&assignment).expect("assign the partitions");
    let mut records = Vec::new();
    while !ends.is_empty() {
        let message = consumer.poll(LIMIT).expect("the topic is silent");
        let message = message.expect("read a record");
        let end = ends.get(&message.partition());
        if end.is_some_and(|end| message.offset() + 1 >= *end) {
            ends.remove(&message.partition());
        }
        records.push(record(&message));
    }
    records
}

fn record(message: &impl Message) -> Record {
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    let text = |value: Option<&[u8]>| String::from_utf8(value?.to_vec()).ok();
    Record {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers
            .filter_map(|header| Some((header.key.to_owned(), text(header.value)?)))
            .collect(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or_default(),
    }
}
