//! rdkafka, the Rust client on librdkafka that Lockstep has, and most other tests.

use rdkafka::admin::{AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureRecord, Producer};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::util::get_rdkafka_version;
use rdkafka::{Message, Offset};
use serde_json::{Value, json};

use super::script::{
    ALL_CODECS, Client, Clock, PARTITIONS, RETENTION_MS, Script, Seen, Steps, fields,
};
use crate::cluster::PATIENCE;
use crate::records::{assign, next, take};
use crate::transactions::{transactional, wait_until};

static CLIENT: Client = Client {
    name: "rdkafka 0.39.0 (Rust, librdkafka 2.12.1)",
    codecs: ALL_CODECS,
    lacks: &[],
    clock: Clock::Script,
};

#[test]
fn rdkafka_works() {
    let (_, librdkafka) = get_rdkafka_version();
    assert!(CLIENT.name.contains(&librdkafka), "{librdkafka} is linked");
    Script::new(&CLIENT).walk(&Steps {
        brokers,
        create,
        produce,
        consume,
        times,
        describe,
        extra,
        delete,
    });
}

fn extra(script: &Script, step: &str) -> Value {
    match step {
        "transactions" => transactions(script),
        "groups" => groups(script),
        "delete-records" => delete_records(script),
        "partitions" => add_partition(script),
        other => panic!("{other} is not done"),
    }
}

/// One that joins no group, for what any client may ask.
fn asking(script: &Script) -> BaseConsumer {
    script.cluster.consumer(&[])
}

fn brokers(script: &Script) -> Value {
    let metadata = asking(script).fetch_metadata(None, PATIENCE).unwrap();
    let brokers = metadata.brokers().iter();
    let address = brokers.map(|broker| format!("{}:{}", broker.host(), broker.port()));
    json!(address.collect::<Vec<_>>())
}

fn create(script: &Script) -> Value {
    let topic = NewTopic::new(&script.topic, PARTITIONS, TopicReplication::Fixed(1))
        .set("retention.ms", RETENTION_MS);
    let admin = script.cluster.admin();
    let created = admin.create_topics([&topic], &AdminOptions::new());
    json!(script.cluster.wait(created).unwrap() == [Ok(script.topic.clone())])
}

fn produce(script: &Script, round: &str, codec: &str) {
    let producer = script.cluster.producer(&[
        ("acks", "all"),
        ("enable.idempotence", "true"),
        ("compression.type", codec),
        // Records go together, so that there is something to compress.
        ("linger.ms", "50"),
        // As Java's clients choose a partition.
        ("partitioner", "murmur2_random"),
    ]);
    let sent = script.records(round).into_iter().map(|record| {
        let headers = record.headers.iter();
        let headers = headers.fold(OwnedHeaders::new(), |all, (key, value)| {
            let value = Some(value);
            all.insert(Header { key, value })
        });
        let record = FutureRecord::to(&script.topic)
            .key(&record.key)
            .payload(&record.value)
            .headers(headers)
            .timestamp(record.timestamp);
        producer.send_result(record).map_err(|(refused, _)| refused)
    });
    for sent in sent.collect::<Vec<_>>() {
        let delivered = script.cluster.wait(sent.unwrap());
        delivered.expect("the producer is there").unwrap();
    }
}

fn consume(script: &Script, count: usize) -> Value {
    let consumer = script.cluster.consumer(&[
        ("group.id", &script.group),
        ("auto.offset.reset", "earliest"),
    ]);
    consumer.subscribe(&[&script.topic]).unwrap();
    let records = take(&consumer, count);
    consumer.commit_consumer_state(CommitMode::Sync).unwrap();
    let seen = records.iter().map(|record| fields(&Seen::of(record)));
    json!(seen.collect::<Vec<_>>())
}

fn times(script: &Script, time_ms: i64) -> Value {
    let mut asked = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let time = Offset::Offset(time_ms);
        let added = asked.add_partition_offset(&script.topic, partition, time);
        added.unwrap();
    }
    let consumer = asking(script);
    let found = consumer.offsets_for_times(asked, PATIENCE).unwrap();
    let found = found.elements();
    let offsets = found
        .iter()
        .map(|it| (it.partition(), it.offset().to_raw()));
    json!(offsets.collect::<Vec<_>>())
}

fn partitions(script: &Script) -> usize {
    let consumer = asking(script);
    let metadata = consumer.fetch_metadata(Some(&script.topic), PATIENCE);
    metadata.unwrap().topics()[0].partitions().len()
}

fn describe(script: &Script) -> Value {
    let topic = ResourceSpecifier::Topic(&script.topic);
    let admin = script.cluster.admin();
    let described = admin.describe_configs([&topic], &AdminOptions::new());
    let described = script.cluster.wait(described).unwrap().remove(0).unwrap();
    let retention = described.get("retention.ms").unwrap();
    json!({ "partitions": partitions(script), "retention.ms": retention.value })
}

fn transactions(script: &Script) -> Value {
    let producer = transactional(&script.cluster, &script.group, &[]);
    for key in ["aborted", "committed"] {
        producer.begin_transaction().unwrap();
        let record = FutureRecord::to(&script.topic).key(key).payload(key);
        let sent = producer.send(record.partition(0), PATIENCE);
        script.cluster.wait(sent).unwrap();
        match key {
            "committed" => producer.commit_transaction(PATIENCE).unwrap(),
            _ => producer.abort_transaction(PATIENCE).unwrap(),
        }
    }
    let committed = [("isolation.level", "read_committed")];
    let consumer = script.cluster.consumer(&committed);
    assign(&consumer, &script.topic, 0, Offset::Beginning);
    let mut seen = Vec::new();
    while !seen.contains(&"committed".to_owned()) {
        let record = next(&consumer);
        if record.key() == record.payload() {
            let key = record.key().unwrap().to_vec();
            seen.push(String::from_utf8(key).unwrap());
        }
    }
    json!(seen)
}

fn groups(script: &Script) -> Value {
    let consumer = asking(script);
    let listed = || {
        let all = consumer.fetch_group_list(None, PATIENCE).unwrap();
        all.groups().iter().any(|it| it.name() == script.group)
    };
    let there = listed();
    let described = consumer.fetch_group_list(Some(&script.group), PATIENCE);
    let is_empty = described.unwrap().groups()[0].state() == "Empty";
    let admin = script.cluster.admin();
    let groups = [script.group.as_str()];
    let deleted = admin.delete_groups(&groups, &AdminOptions::new());
    script.cluster.wait(deleted).unwrap().remove(0).unwrap();
    json!({ "listed": there, "empty": is_empty, "deleted": !listed() })
}

fn delete_records(script: &Script) -> Value {
    let mut before = TopicPartitionList::new();
    let first = Offset::Offset(1);
    let added = before.add_partition_offset(&script.topic, 0, first);
    added.unwrap();
    let admin = script.cluster.admin();
    let deleted = admin.delete_records(&before, &AdminOptions::new());
    script.cluster.wait(deleted).unwrap();
    let ends = asking(script).fetch_watermarks(&script.topic, 0, PATIENCE);
    json!({ "first": ends.unwrap().0 })
}

fn add_partition(script: &Script) -> Value {
    let count = usize::try_from(PARTITIONS + 1).unwrap();
    let more = NewPartitions::new(&script.topic, count);
    let admin = script.cluster.admin();
    let added = admin.create_partitions([&more], &AdminOptions::new());
    script.cluster.wait(added).unwrap().remove(0).unwrap();
    wait_until(|| partitions(script) == count);
    json!({ "partitions": count })
}

fn delete(script: &Script) -> Value {
    let admin = script.cluster.admin();
    let topics = [script.topic.as_str()];
    let deleted = admin.delete_topics(&topics, &AdminOptions::new());
    script.cluster.wait(deleted).unwrap().remove(0).unwrap();
    let consumer = asking(script);
    wait_until(|| {
        let metadata = consumer.fetch_metadata(None, PATIENCE).unwrap();
        metadata.topics().iter().all(|it| it.name() != script.topic)
    });
    json!(true)
}
