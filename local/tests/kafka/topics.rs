use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::{BrokerId, CreatePartitionsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use rdkafka::admin::{
    AdminOptions, AlterConfig, ConfigEntry, ConfigSource, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::MetadataPartition;

use crate::cluster::{Cluster, PATIENCE, unique};
use crate::wire::{connect, exchange};

#[test]
fn a_topic_is_created_described_and_deleted() {
    let cluster = Cluster::start();
    let topic = cluster.topic(
        3,
        &[("retention.ms", "3600000"), ("cleanup.policy", "compact")],
    );
    let consumer = cluster.consumer(&[]);
    let metadata = consumer.fetch_metadata(Some(&topic), PATIENCE).unwrap();
    let partitions: Vec<_> = metadata.topics()[0]
        .partitions()
        .iter()
        .map(MetadataPartition::id)
        .collect();
    assert_eq!(partitions, [0, 1, 2]);
    assert_eq!(metadata.brokers().len(), 1);

    assert_eq!(setting(&cluster, &topic, "retention.ms"), set("3600000"));
    assert_eq!(setting(&cluster, &topic, "cleanup.policy"), set("compact"));
    let (value, source) = setting(&cluster, &topic, "segment.bytes");
    assert_eq!(value.as_deref(), Some("1073741824"));
    assert_eq!(source, ConfigSource::Default);

    let options = AdminOptions::new();
    let admin = cluster.admin();
    let deleted = cluster
        .wait(admin.delete_topics(&[&topic], &options))
        .unwrap();
    assert_eq!(deleted, [Ok(topic.clone())]);
    let again = cluster
        .wait(admin.delete_topics(&[&topic], &options))
        .unwrap();
    assert_eq!(
        again,
        [Err((
            topic.clone(),
            RDKafkaErrorCode::UnknownTopicOrPartition
        ))]
    );
    let metadata = consumer.fetch_metadata(None, PATIENCE).unwrap();
    assert!(metadata.topics().iter().all(|found| found.name() != topic));
}

#[test]
fn a_topic_that_cannot_be_is_refused_with_its_own_code() {
    let cluster = Cluster::start();
    let exists = cluster.topic(1, &[]);
    let named = unique("refused");
    let check = |topic: NewTopic<'_>, expected: RDKafkaErrorCode| {
        let name = topic.name.to_owned();
        let created = cluster.wait(
            cluster
                .admin()
                .create_topics([&topic], &AdminOptions::new()),
        );
        assert_eq!(created.unwrap(), [Err((name, expected))]);
    };
    check(
        NewTopic::new(&exists, 1, TopicReplication::Fixed(1)),
        RDKafkaErrorCode::TopicAlreadyExists,
    );
    check(
        NewTopic::new("no spaces", 1, TopicReplication::Fixed(1)),
        RDKafkaErrorCode::InvalidTopic,
    );
    check(
        NewTopic::new(&named, 0, TopicReplication::Fixed(1)),
        RDKafkaErrorCode::InvalidPartitions,
    );
    check(
        NewTopic::new(&named, 1, TopicReplication::Fixed(2)),
        RDKafkaErrorCode::InvalidReplicationFactor,
    );
    let unknown = NewTopic::new(&named, 1, TopicReplication::Fixed(1)).set("no.such.setting", "1");
    check(unknown, RDKafkaErrorCode::InvalidConfig);
    let invalid = NewTopic::new(&named, 1, TopicReplication::Fixed(1)).set("retention.ms", "soon");
    check(invalid, RDKafkaErrorCode::InvalidConfig);
}

#[test]
fn a_topic_is_only_checked_when_that_is_asked() {
    let cluster = Cluster::start();
    let name = unique("checked");
    let topic = NewTopic::new(&name, 1, TopicReplication::Fixed(1));
    let options = AdminOptions::new().validate_only(true);
    let checked = cluster
        .wait(cluster.admin().create_topics([&topic], &options))
        .unwrap();
    assert_eq!(checked, [Ok(name.clone())]);
    let metadata = cluster
        .consumer(&[])
        .fetch_metadata(None, PATIENCE)
        .unwrap();
    assert!(metadata.topics().iter().all(|found| found.name() != name));
}

#[test]
fn settings_are_changed() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[("retention.ms", "1000")]);
    let resource = ResourceSpecifier::Topic(&topic);
    let altered = AlterConfig::new(resource).set("max.message.bytes", "5000000");
    let results = cluster.wait(
        cluster
            .admin()
            .alter_configs([&altered], &AdminOptions::new()),
    );
    assert!(results.unwrap()[0].is_ok());
    assert_eq!(
        setting(&cluster, &topic, "max.message.bytes"),
        set("5000000")
    );
    // This request gives all settings, so what it does not name is as by default again.
    let (value, source) = setting(&cluster, &topic, "retention.ms");
    assert_eq!(
        (value.as_deref(), source),
        (Some("604800000"), ConfigSource::Default)
    );
}

/// The code for each topic, of which the names and the numbers of partitions are given, and where
/// partitions that are added are to be.
fn grow(
    cluster: &Cluster,
    topics: &[(&str, i32, Option<&[i32]>)],
    validate_only: bool,
) -> Vec<i16> {
    let topics = topics.iter().map(|(name, count, brokers)| {
        let assign = |broker: &i32| {
            CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(*broker)])
        };
        CreatePartitionsTopic::default()
            .with_name(TopicName(StrBytes::from_string((*name).to_owned())))
            .with_count(*count)
            .with_assignments(brokers.map(|brokers| brokers.iter().map(assign).collect()))
    });
    let request = CreatePartitionsRequest::default()
        .with_topics(topics.collect())
        .with_timeout_ms(10_000)
        .with_validate_only(validate_only);
    let answer = exchange(&mut connect(cluster.bootstrap()), 3, &request);
    answer
        .results
        .iter()
        .map(|result| result.error_code)
        .collect()
}

/// How many partitions a topic has, once that is the expected number.
#[track_caller]
fn expect_partitions(cluster: &Cluster, topic: &str, expected: usize) {
    let consumer = cluster.consumer(&[]);
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
        let found = metadata.topics()[0].partitions().len();
        if found == expected {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{found} partitions");
    }
}

#[test]
fn a_topic_gets_more_partitions_which_take_records() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    let missing = unique("missing");
    let invalid_partitions = 37;
    let invalid_assignment = 39;
    let one =
        |count: i32, brokers: Option<&[i32]>| grow(&cluster, &[(&topic, count, brokers)], false);
    assert_eq!(grow(&cluster, &[(&topic, 3, None)], true), [0]);
    expect_partitions(&cluster, &topic, 1);
    assert_eq!(one(1, None), [invalid_partitions]);
    assert_eq!(one(0, None), [invalid_partitions]);
    assert_eq!(one(3, Some(&[1])), [invalid_assignment]);
    assert_eq!(one(3, Some(&[1, 7])), [invalid_assignment]);
    assert_eq!(grow(&cluster, &[(&missing, 3, None)], false), [3]);
    assert_eq!(
        grow(&cluster, &[(&topic, 3, None), (&topic, 4, None)], false)[0],
        42
    );
    assert_eq!(one(3, Some(&[1, 1])), [0]);
    expect_partitions(&cluster, &topic, 3);
    assert_eq!(one(3, None), [invalid_partitions]);
    assert_eq!(one(4, None), [0]);
    expect_partitions(&cluster, &topic, 4);
    let producer = cluster.producer(&[]);
    for partition in 0..4 {
        let record = rdkafka::producer::FutureRecord::<str, _>::to(&topic)
            .payload("v")
            .partition(partition);
        let delivered = cluster.wait(producer.send(record, PATIENCE)).unwrap();
        assert_eq!((delivered.partition, delivered.offset), (partition, 0));
    }
}

#[test]
fn partitions_that_were_added_are_there_after_a_kill() {
    let mut process = crate::cluster::Process::start();
    let topic = process.cluster().topic(1, &[]);
    assert_eq!(grow(process.cluster(), &[(&topic, 5, None)], false), [0]);
    process.kill();
    process.restart();
    expect_partitions(process.cluster(), &topic, 5);
}

#[test]
fn a_producer_may_create_a_topic_where_that_is_allowed() {
    let cluster = Cluster::start_with(|config| config.default_partitions = 2);
    let topic = unique("by-itself");
    let producer = cluster.producer(&[]);
    crate::records::send(&cluster, &producer, &topic, "k", b"v");

    let consumer = cluster.consumer(&[]);
    let partitions = |topic: &str| {
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
        metadata.topics()[0].partitions().len()
    };
    assert_eq!(partitions(&topic), 2);
    // A consumer does not ask for it.
    assert_eq!(partitions(&unique("never")), 0);
}

/// A value that was set for the topic.
fn set(value: &str) -> (Option<String>, ConfigSource) {
    (Some(value.to_owned()), ConfigSource::DynamicTopic)
}

fn setting(cluster: &Cluster, topic: &str, name: &str) -> (Option<String>, ConfigSource) {
    let resource = ResourceSpecifier::Topic(topic);
    let described = cluster.wait(
        cluster
            .admin()
            .describe_configs([&resource], &AdminOptions::new()),
    );
    let mut described = described.unwrap();
    let config = described.pop().unwrap().unwrap();
    let found = config.entries.into_iter().find(|entry| entry.name == name);
    let ConfigEntry { value, source, .. } = found.unwrap();
    (value, source)
}
