use rdkafka::admin::{
    AdminOptions, AlterConfig, ConfigEntry, ConfigSource, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::MetadataPartition;

use crate::cluster::{Cluster, PATIENCE, unique};

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
