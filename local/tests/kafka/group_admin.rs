//! What tools do with consumer groups.

use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, GroupId, ListGroupsRequest, OffsetDeleteRequest,
    OffsetDeleteResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use rdkafka::admin::AdminOptions;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use crate::cluster::{Cluster, PATIENCE, Restarting, unique};
use crate::groups::{member, poll_until, shared};
use crate::wire::{connect, exchange, exchange_until};

const GROUP_ID_NOT_FOUND: i16 = 69;
const NON_EMPTY_GROUP: i16 = 68;
const GROUP_SUBSCRIBED_TO_TOPIC: i16 = 86;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// The groups with such a state and of such a type.
fn listed(cluster: &Cluster, states: &[&str], types: &[&str]) -> Vec<String> {
    let all = |names: &[&str]| names.iter().map(|name| text(name)).collect();
    let request = ListGroupsRequest::default()
        .with_states_filter(all(states))
        .with_types_filter(all(types));
    let answer = exchange(&mut connect(cluster.bootstrap()), 5, &request);
    assert_eq!(answer.error_code, 0);
    let groups = answer.groups.into_iter();
    groups.map(|group| group.group_id.to_string()).collect()
}

fn commit(consumer: &BaseConsumer, topic: &str, offset: i64) {
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset(topic, 0, Offset::Offset(offset))
        .unwrap();
    consumer.commit(&offsets, CommitMode::Sync).unwrap();
}

fn committed(cluster: &Cluster, group: &str, topic: &str) -> Offset {
    let consumer = cluster.consumer(&[("group.id", group)]);
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, 0);
    let found = consumer.committed_offsets(asked, PATIENCE).unwrap();
    found.find_partition(topic, 0).unwrap().offset()
}

#[test]
fn a_group_is_listed_and_described_with_its_members() {
    let cluster = Cluster::start();
    let topic = cluster.topic(2, &[]);
    let group = unique("group");
    let settings = [("client.id", "me"), ("group.instance.id", "instance")];
    let consumer = member(&cluster, &group, &topic, &settings);
    poll_until(&[&consumer], || shared(&[&consumer], 2));
    for (states, types, expected) in [
        (&[][..], &[][..], true),
        (&["stable", "Dead"], &["Classic"], true),
        (&["Empty"], &[], false),
        (&[], &["consumer"], false),
    ] {
        let found = listed(&cluster, states, types).contains(&group);
        assert_eq!(found, expected, "{states:?} {types:?}");
    }
    let found = consumer.fetch_group_list(Some(&group), PATIENCE).unwrap();
    let described = &found.groups()[0];
    assert_eq!((described.name(), described.state()), (&*group, "Stable"));
    assert_eq!(described.protocol_type(), "consumer");
    assert_eq!(described.protocol(), "range");
    let [found] = described.members() else {
        panic!("not one member");
    };
    assert_eq!(
        (found.client_id(), found.client_host()),
        ("me", "/127.0.0.1")
    );
    assert!(found.id().starts_with("instance-"));
    let holds = |bytes: Option<&[u8]>| {
        let bytes = bytes.unwrap();
        bytes
            .windows(topic.len())
            .any(|part| part == topic.as_bytes())
    };
    assert!(holds(found.metadata()) && holds(found.assignment()));
}

#[test]
fn a_group_that_nobody_is_in_is_described_as_empty_and_one_that_is_not_there_as_dead() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    let group = unique("group");
    commit(&cluster.consumer(&[("group.id", &group)]), &topic, 5);
    assert!(listed(&cluster, &["Empty"], &[]).contains(&group));
    let mut stream = connect(cluster.bootstrap());
    let missing = unique("missing");
    let groups = [&group, &missing].map(|id| GroupId(text(id)));
    let request = DescribeGroupsRequest::default().with_groups(groups.into());
    let answer = exchange(&mut stream, 5, &request);
    let mut states = answer.groups.iter().map(|found| {
        let is_there = *found.group_id.0 == *group;
        (is_there, found.error_code, found.group_state.as_str())
    });
    assert!(states.all(|state| matches!(state, (true, 0, "Empty") | (false, 0, "Dead"))));
    assert_eq!(answer.groups.len(), 2);
}

#[test]
fn only_a_group_without_members_is_deleted() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    let group = unique("group");
    let consumer = member(&cluster, &group, &topic, &[]);
    poll_until(&[&consumer], || shared(&[&consumer], 1));
    commit(&consumer, &topic, 7);
    let delete = || {
        let options = AdminOptions::new();
        let deleted = cluster.wait(cluster.admin().delete_groups(&[&group], &options));
        deleted.unwrap().remove(0).map_err(|(_, code)| code)
    };
    assert_eq!(delete(), Err(RDKafkaErrorCode::NonEmptyGroup));
    assert_eq!(committed(&cluster, &group, &topic), Offset::Offset(7));
    drop(consumer);
    assert_eq!(delete(), Ok(group.clone()));
    assert_eq!(delete(), Err(RDKafkaErrorCode::GroupIdNotFound));
    assert_eq!(committed(&cluster, &group, &topic), Offset::Invalid);
    assert!(!listed(&cluster, &[], &[]).contains(&group));
}

fn delete_offsets(cluster: &Cluster, group: &str, topics: &[&str]) -> OffsetDeleteResponse {
    let topics = topics.iter().map(|name| {
        OffsetDeleteRequestTopic::default()
            .with_name(TopicName(text(name)))
            .with_partitions(vec![OffsetDeleteRequestPartition::default()])
    });
    let request = OffsetDeleteRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_topics(topics.collect());
    exchange(&mut connect(cluster.bootstrap()), 0, &request)
}

#[test]
fn offsets_are_deleted_for_topics_that_the_group_does_not_read() {
    let cluster = Cluster::start();
    let (read, left) = (cluster.topic(1, &[]), cluster.topic(1, &[]));
    let (group, missing) = (unique("group"), unique("missing"));
    let consumer = member(&cluster, &group, &read, &[]);
    poll_until(&[&consumer], || shared(&[&consumer], 1));
    commit(&consumer, &read, 3);
    commit(&consumer, &left, 4);
    let answer = delete_offsets(&cluster, &group, &[&read, &left, &missing]);
    assert_eq!(answer.error_code, 0);
    let code = |name: &str| {
        let topic = answer.topics.iter().find(|topic| &*topic.name.0 == name);
        topic.unwrap().partitions[0].error_code
    };
    assert_eq!(code(&read), GROUP_SUBSCRIBED_TO_TOPIC);
    assert_eq!(code(&left), 0);
    assert_eq!(code(&missing), UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(committed(&cluster, &group, &read), Offset::Offset(3));
    assert_eq!(committed(&cluster, &group, &left), Offset::Invalid);
    drop(consumer);
    let answer = delete_offsets(&cluster, &group, &[&read]);
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    assert_eq!(committed(&cluster, &group, &read), Offset::Invalid);
    let answer = delete_offsets(&cluster, &unique("missing"), &[&read]);
    assert_eq!(answer.error_code, GROUP_ID_NOT_FOUND);
}

#[test]
fn groups_and_their_deletion_outlast_a_restart() {
    let mut cluster = Restarting::start();
    let topic = cluster.now().topic(1, &[]);
    let (kept, deleted) = (unique("kept"), unique("deleted"));
    for group in [&kept, &deleted] {
        let consumer = member(cluster.now(), group, &topic, &[]);
        poll_until(&[&consumer], || shared(&[&consumer], 1));
        commit(&consumer, &topic, 1);
    }
    let delete = |cluster: &Cluster, group: &str, expected: i16| {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text(group))]);
        exchange_until(&mut connect(cluster.bootstrap()), 2, &request, |answer| {
            answer.results[0].error_code == expected
        });
    };
    delete(cluster.now(), &deleted, 0);
    cluster.restart();
    assert_eq!(
        listed(cluster.now(), &["Empty"], &[]),
        std::slice::from_ref(&kept)
    );
    delete(cluster.now(), &deleted, GROUP_ID_NOT_FOUND);
    let consumer = member(cluster.now(), &kept, &topic, &[]);
    poll_until(&[&consumer], || shared(&[&consumer], 1));
    delete(cluster.now(), &kept, NON_EMPTY_GROUP);
}
