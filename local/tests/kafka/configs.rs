//! Settings of topics and of the broker, as administrators' tools ask for them and change them.

use std::time::Instant;

use kafka_protocol::messages::alter_configs_request;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
};
use kafka_protocol::protocol::StrBytes;
use rdkafka::producer::FutureRecord;

use crate::cluster::{Cluster, PATIENCE, unique};
use crate::wire::{connect, exchange};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

const INVALID_CONFIG: i16 = 40;
const INVALID_REQUEST: i16 = 42;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// One change: name, operation and value.
type Change<'a> = (&'a str, i8, Option<&'a str>);

fn resource(kind: i8, name: &str, changes: &[Change<'_>]) -> AlterConfigsResource {
    let changes = changes.iter().map(|(name, operation, value)| {
        AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    });
    AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(changes.collect())
}

/// The code for each resource.
fn alter(cluster: &Cluster, resources: Vec<AlterConfigsResource>) -> Vec<i16> {
    let request = IncrementalAlterConfigsRequest::default().with_resources(resources);
    let answer = exchange(&mut connect(cluster.bootstrap()), 1, &request);
    let codes = answer.responses.iter().map(|response| response.error_code);
    codes.collect()
}

#[track_caller]
fn check(cluster: &Cluster, topic: &str, changes: &[Change<'_>], expected: i16) {
    let codes = alter(cluster, vec![resource(TOPIC, topic, changes)]);
    assert_eq!(codes, [expected], "{changes:?}");
}

fn describe(cluster: &Cluster, kind: i8, name: &str) -> DescribeConfigsResult {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true)
        .with_include_documentation(true);
    let answer = exchange(&mut connect(cluster.bootstrap()), 4, &request);
    answer.results[0].clone()
}

#[track_caller]
fn setting(result: &DescribeConfigsResult, name: &str) -> DescribeConfigsResourceResult {
    let mut lines = result.configs.iter();
    lines.find(|line| &*line.name == name).unwrap().clone()
}

/// Waits until a topic's setting has a value: a cluster of another maker tells its brokers later.
#[track_caller]
fn expect(cluster: &Cluster, topic: &str, name: &str, value: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = setting(&describe(cluster, TOPIC, topic), name).value;
        if found.as_deref() == Some(value) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{name} is {found:?}, not {value}"
        );
    }
}

#[test]
fn values_are_added_to_lists_and_taken_from_them() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    // The value by default counts as one that is there.
    check(
        &cluster,
        &topic,
        &[("cleanup.policy", APPEND, Some("compact"))],
        0,
    );
    expect(&cluster, &topic, "cleanup.policy", "delete,compact");
    check(
        &cluster,
        &topic,
        &[("cleanup.policy", APPEND, Some("compact"))],
        0,
    );
    check(
        &cluster,
        &topic,
        &[("cleanup.policy", SUBTRACT, Some("delete"))],
        0,
    );
    expect(&cluster, &topic, "cleanup.policy", "compact");
    check(&cluster, &topic, &[("cleanup.policy", DELETE, None)], 0);
    expect(&cluster, &topic, "cleanup.policy", "delete");
    check(
        &cluster,
        &topic,
        &[("cleanup.policy", APPEND, Some("shred"))],
        INVALID_CONFIG,
    );
    check(
        &cluster,
        &topic,
        &[("retention.ms", APPEND, Some("1"))],
        INVALID_CONFIG,
    );
}

#[test]
fn changes_that_cannot_be_are_refused_each_with_its_code() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    let refused: [(&[Change<'_>], i16); 5] = [
        (&[("no.such.setting", SET, Some("1"))], INVALID_CONFIG),
        (&[("retention.ms", SET, Some("soon"))], INVALID_CONFIG),
        (&[("segment.bytes", SET, Some("1"))], INVALID_CONFIG),
        (&[("retention.ms", SET, None)], INVALID_REQUEST),
        (
            &[
                ("retention.ms", SET, Some("1")),
                ("retention.ms", DELETE, None),
            ],
            INVALID_REQUEST,
        ),
    ];
    for (changes, code) in refused {
        check(&cluster, &topic, changes, code);
    }
    let set = |kind: i8, name: &str| resource(kind, name, &[("retention.ms", SET, Some("5000"))]);
    assert_eq!(alter(&cluster, vec![set(TOPIC, &unique("missing"))]), [3]);
    assert_eq!(alter(&cluster, vec![set(99, "x")]), [INVALID_REQUEST]);
    assert_eq!(alter(&cluster, vec![set(BROKER, "77")]), [INVALID_REQUEST]);
    let dirs = resource(BROKER, "1", &[("log.dirs", SET, Some("/elsewhere"))]);
    assert_eq!(alter(&cluster, vec![dirs]), [INVALID_REQUEST]);
    // What is wrong with one does not keep the others from being changed.
    let mut codes = alter(
        &cluster,
        vec![set(TOPIC, &unique("missing")), set(TOPIC, &topic)],
    );
    codes.sort_unstable();
    assert_eq!(codes, [0, 3]);
    expect(&cluster, &topic, "retention.ms", "5000");
}

#[test]
fn changes_are_only_checked_when_that_is_asked() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    let check = |value: &str| {
        let change = resource(TOPIC, &topic, &[("retention.ms", SET, Some(value))]);
        let request = IncrementalAlterConfigsRequest::default()
            .with_resources(vec![change])
            .with_validate_only(true);
        let answer = exchange(&mut connect(cluster.bootstrap()), 1, &request);
        answer.responses[0].error_code
    };
    assert_eq!((check("1000"), check("soon")), (0, INVALID_CONFIG));
    let older = alter_configs_request::AlterableConfig::default()
        .with_name(text("retention.ms"))
        .with_value(Some(text("1000")));
    let older = alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(&topic))
        .with_configs(vec![older]);
    let request = AlterConfigsRequest::default()
        .with_resources(vec![older])
        .with_validate_only(true);
    let answer = exchange(&mut connect(cluster.bootstrap()), 2, &request);
    assert_eq!(answer.responses[0].error_code, 0);
    expect(&cluster, &topic, "retention.ms", "604800000");
}

#[test]
fn a_change_acts_without_a_restart() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    let producer = cluster.producer(&[]);
    let sends = |key: Option<&str>, size: usize| {
        let value = vec![b'x'; size];
        let mut record = FutureRecord::<str, _>::to(&topic)
            .payload(&value)
            .partition(0);
        record.key = key;
        cluster.wait(producer.send(record, PATIENCE)).is_ok()
    };
    let becomes = |expected: bool, sends: &dyn Fn() -> bool| {
        let deadline = Instant::now() + PATIENCE;
        while sends() != expected {
            assert!(Instant::now() < deadline, "the change does not act");
        }
    };
    assert!(sends(Some("k"), 50_000) && sends(None, 10));
    check(
        &cluster,
        &topic,
        &[("max.message.bytes", SET, Some("10000"))],
        0,
    );
    becomes(false, &|| sends(Some("k"), 50_000));
    check(&cluster, &topic, &[("max.message.bytes", DELETE, None)], 0);
    becomes(true, &|| sends(Some("k"), 50_000));
    check(
        &cluster,
        &topic,
        &[("cleanup.policy", APPEND, Some("compact"))],
        0,
    );
    becomes(false, &|| sends(None, 10));
    assert!(sends(Some("k"), 10));
}

#[test]
fn a_topics_settings_are_described_with_where_they_come_from() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[("delete.retention.ms", "1000")]);
    let described = describe(&cluster, TOPIC, &topic);
    let line = setting(&described, "delete.retention.ms");
    assert_eq!(
        (line.value.as_deref(), line.config_source),
        (Some("1000"), 1)
    );
    let synonyms: Vec<_> = line
        .synonyms
        .iter()
        .map(|synonym| (&*synonym.name, synonym.value.as_deref(), synonym.source))
        .collect();
    let by_default = ("log.cleaner.delete.retention.ms", Some("86400000"), 5);
    assert_eq!(
        synonyms,
        [("delete.retention.ms", Some("1000"), 1), by_default]
    );

    for (name, kind) in [
        ("preallocate", 1),
        ("message.timestamp.type", 2),
        ("segment.bytes", 3),
        ("retention.ms", 5),
        ("min.cleanable.dirty.ratio", 6),
        ("cleanup.policy", 7),
    ] {
        let line = setting(&described, name);
        assert_eq!(line.config_type, kind, "{name}");
        assert!(!line.is_sensitive && !line.read_only);
        assert!(line.documentation.is_some_and(|text| !text.is_empty()));
    }
    let unknown = describe(&cluster, TOPIC, &unique("missing"));
    assert_eq!(unknown.error_code, 3);
    assert_eq!(describe(&cluster, TOPIC, "no spaces").error_code, 17);
    assert_eq!(describe(&cluster, 99, "x").error_code, INVALID_REQUEST);
}

#[test]
fn the_brokers_settings_are_described() {
    let cluster = Cluster::start_with(|config| config.default_partitions = 2);
    let described = describe(&cluster, BROKER, "1");
    assert_eq!(described.error_code, 0);
    let line = setting(&described, "num.partitions");
    // It was started with another number than that by default.
    assert_eq!((line.value.as_deref(), line.config_source), (Some("2"), 4));
    assert_eq!((line.config_type, line.is_sensitive), (3, false));
    assert!(
        line.synonyms
            .iter()
            .any(|synonym| { (synonym.value.as_deref(), synonym.source) == (Some("1"), 5) })
    );
    for (name, value, kind) in [
        ("message.max.bytes", "1048588", 3),
        ("log.segment.bytes", "1073741824", 3),
        ("log.cleanup.policy", "delete", 7),
        ("log.cleaner.min.cleanable.ratio", "0.5", 6),
        ("auto.create.topics.enable", "true", 1),
    ] {
        let line = setting(&described, name);
        assert_eq!(
            (line.value.as_deref(), line.config_type),
            (Some(value), kind),
            "{name}"
        );
        assert!(line.documentation.is_some_and(|text| !text.is_empty()));
    }
    let own = setting(&described, "node.id");
    assert_eq!((own.value.as_deref(), own.read_only), (Some("1"), true));
    // What was changed for all brokers, which by itself is little or nothing.
    let all = describe(&cluster, BROKER, "");
    assert_eq!(all.error_code, 0);
    assert!(all.configs.iter().all(|line| line.config_source == 3));
    assert_eq!(describe(&cluster, BROKER, "77").error_code, INVALID_REQUEST);
    assert_eq!(
        describe(&cluster, BROKER, "one").error_code,
        INVALID_REQUEST
    );
}
