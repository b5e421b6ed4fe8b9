//! Every version of every request that is announced is also understood and answered.

use std::collections::BTreeMap;
use std::net::TcpStream;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    AlterConfigsRequest, ApiKey, ApiVersionsRequest, BrokerId, CreatePartitionsRequest,
    CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, DescribeClusterRequest,
    DescribeConfigsRequest, DescribeTransactionsRequest, FetchRequest, FindCoordinatorRequest,
    GroupId, HeartbeatRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest,
    JoinGroupRequest, LeaveGroupRequest, ListOffsetsRequest, MetadataRequest, OffsetCommitRequest,
    OffsetFetchRequest, OffsetForLeaderEpochRequest, ProduceRequest, SyncGroupRequest, TopicName,
    TransactionalId, alter_configs_request, incremental_alter_configs_request,
};
use kafka_protocol::protocol::StrBytes;

use crate::administration_versions;
use crate::cluster::{Cluster, unique};
use crate::records::send_numbered;
use crate::transactions::wait_until;
use crate::wire::{connect, exchange, exchange_until, frame, response};

/// What the requests of one sweep name: things that are there, and things that are not.
struct Names {
    there: TopicName,
    missing: TopicName,
}

#[test]
fn every_announced_version_is_answered() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    send_numbered(&cluster, &cluster.producer(&[]), &topic, 0..3);
    let name = |name: String| TopicName(StrBytes::from_string(name));
    let names = Names {
        there: name(topic),
        missing: name(unique("missing")),
    };
    let mut stream = connect(cluster.bootstrap());
    let announced = exchange(&mut stream, 0, &ApiVersionsRequest::default()).api_keys;
    assert!(announced.len() >= 33);
    for api in announced {
        let key = ApiKey::try_from(api.api_key).unwrap();
        // A cluster of another maker serves more than is tried here.
        for version in api.min_version.max(oldest(key))..=api.max_version.min(newest(key)) {
            ask(&mut stream, key, version, &names);
        }
    }
}

/// The versions that the local broker announces; Kafka also has others.
fn newest(key: ApiKey) -> i16 {
    match key {
        ApiKey::Produce => 11,
        ApiKey::Fetch => 12,
        ApiKey::ListOffsets => 7,
        ApiKey::Metadata => 12,
        ApiKey::OffsetCommit | ApiKey::OffsetFetch | ApiKey::JoinGroup => 9,
        ApiKey::FindCoordinator
        | ApiKey::Heartbeat
        | ApiKey::ApiVersions
        | ApiKey::DescribeConfigs => 4,
        ApiKey::LeaveGroup | ApiKey::SyncGroup | ApiKey::InitProducerId => 5,
        ApiKey::CreateTopics => 7,
        ApiKey::DeleteTopics => 6,
        ApiKey::CreatePartitions => 3,
        ApiKey::OffsetForLeaderEpoch => 4,
        ApiKey::AlterConfigs | ApiKey::DeleteRecords => 2,
        ApiKey::IncrementalAlterConfigs | ApiKey::DescribeCluster => 1,
        other => administration_versions::newest(other),
    }
}

fn oldest(key: ApiKey) -> i16 {
    key.valid_versions().min
}

fn ask(stream: &mut TcpStream, key: ApiKey, version: i16, names: &Names) {
    match key {
        ApiKey::Produce | ApiKey::Fetch | ApiKey::ListOffsets => {
            ask_for_records(stream, key, version, names);
        }
        ApiKey::DeleteRecords | ApiKey::CreatePartitions | ApiKey::OffsetForLeaderEpoch => {
            ask_about_partitions(stream, key, version, names);
        }
        ApiKey::CreateTopics
        | ApiKey::DeleteTopics
        | ApiKey::DescribeConfigs
        | ApiKey::AlterConfigs
        | ApiKey::IncrementalAlterConfigs => ask_about_topics(stream, key, version, names),
        ApiKey::Metadata
        | ApiKey::ApiVersions
        | ApiKey::DescribeCluster
        | ApiKey::InitProducerId => ask_about_the_cluster(stream, key, version, names),
        other if administration_versions::newest(other) >= 0 => {
            administration_versions::ask(stream, key, version, &names.there);
        }
        _ => ask_about_groups(stream, key, version, names),
    }
}

/// Checks the codes that were answered, in whatever order.
#[track_caller]
fn check<'a>(
    codes: impl Iterator<Item = (&'a TopicName, i16)>,
    expected: [(&'a TopicName, i16); 2],
) {
    let codes: BTreeMap<_, _> = codes.map(|(name, code)| (name.as_str(), code)).collect();
    assert_eq!(
        codes,
        expected.map(|(name, code)| (name.as_str(), code)).into()
    );
}

fn ask_for_records(stream: &mut TcpStream, key: ApiKey, version: i16, names: &Names) {
    let both = [names.there.clone(), names.missing.clone()];
    match key {
        ApiKey::Produce => {
            let topics = both.map(|name| {
                let data = PartitionProduceData::default().with_records(Some(Bytes::new()));
                TopicProduceData::default()
                    .with_name(name)
                    .with_partition_data(vec![data])
            });
            let request = ProduceRequest::default()
                .with_acks(1)
                .with_topic_data(topics.into());
            let answer = exchange(stream, version, &request);
            assert_eq!(answer.responses.len(), 2);
            assert!(
                answer
                    .responses
                    .iter()
                    .all(|topic| topic.partition_responses[0].error_code != 0)
            );
        }
        ApiKey::Fetch => {
            let topics = both.map(|name| {
                let partition = FetchPartition::default()
                    .with_fetch_offset(1)
                    .with_partition_max_bytes(1 << 20);
                FetchTopic::default()
                    .with_topic(name)
                    .with_partitions(vec![partition])
            });
            let request = FetchRequest::default()
                .with_max_bytes(1 << 20)
                .with_topics(topics.into());
            let answer = exchange(stream, version, &request);
            let codes = answer
                .responses
                .iter()
                .map(|topic| (&topic.topic, topic.partitions[0].error_code));
            check(codes, [(&names.there, 0), (&names.missing, 3)]);
            let ends = answer
                .responses
                .iter()
                .map(|topic| topic.partitions[0].high_watermark);
            assert_eq!(ends.max(), Some(3));
        }
        _ => {
            let times = if version >= 7 {
                vec![-1, -2, -3, 0]
            } else {
                vec![-1, -2, 0]
            };
            for time in times {
                let topics = both.clone().map(|name| {
                    let partition = ListOffsetsPartition::default().with_timestamp(time);
                    ListOffsetsTopic::default()
                        .with_name(name)
                        .with_partitions(vec![partition])
                });
                let request = ListOffsetsRequest::default().with_topics(topics.into());
                let answer = exchange(stream, version, &request);
                let codes = answer
                    .topics
                    .iter()
                    .map(|topic| (&topic.name, topic.partitions[0].error_code));
                check(codes, [(&names.there, 0), (&names.missing, 3)]);
            }
        }
    }
}

fn ask_about_partitions(stream: &mut TcpStream, key: ApiKey, version: i16, names: &Names) {
    let both = [names.there.clone(), names.missing.clone()];
    match key {
        ApiKey::DeleteRecords => {
            let topics = both.map(|name| {
                DeleteRecordsTopic::default()
                    .with_name(name)
                    .with_partitions(vec![DeleteRecordsPartition::default()])
            });
            let request = DeleteRecordsRequest::default()
                .with_timeout_ms(10_000)
                .with_topics(topics.into());
            let answer = exchange(stream, version, &request);
            let codes = answer
                .topics
                .iter()
                .map(|topic| (&topic.name, topic.partitions[0].error_code));
            check(codes, [(&names.there, 0), (&names.missing, 3)]);
        }
        ApiKey::CreatePartitions => {
            let topics = both.map(|name| {
                CreatePartitionsTopic::default()
                    .with_name(name)
                    .with_count(2)
                    .with_assignments(None)
            });
            let request = CreatePartitionsRequest::default()
                .with_timeout_ms(10_000)
                .with_validate_only(true)
                .with_topics(topics.into());
            let answer = exchange(stream, version, &request);
            let codes = answer
                .results
                .iter()
                .map(|result| (&result.name, result.error_code));
            check(codes, [(&names.there, 0), (&names.missing, 3)]);
        }
        _ => {
            let topics = both.map(|name| {
                OffsetForLeaderTopic::default()
                    .with_topic(name)
                    .with_partitions(vec![OffsetForLeaderPartition::default()])
            });
            let request = OffsetForLeaderEpochRequest::default()
                .with_replica_id(BrokerId(-1))
                .with_topics(topics.into());
            let answer = exchange(stream, version, &request);
            let codes = answer
                .topics
                .iter()
                .map(|topic| (&topic.topic, topic.partitions[0].error_code));
            check(codes, [(&names.there, 0), (&names.missing, 3)]);
        }
    }
}

fn ask_about_topics(stream: &mut TcpStream, key: ApiKey, version: i16, names: &Names) {
    let text = |name: &TopicName| name.0.clone();
    match key {
        ApiKey::CreateTopics => {
            let new = TopicName(StrBytes::from_string(unique("new")));
            let topics = [names.there.clone(), new.clone()].map(|name| {
                CreatableTopic::default()
                    .with_name(name)
                    .with_num_partitions(1)
                    .with_replication_factor(1)
            });
            let answer = exchange(
                stream,
                version,
                &CreateTopicsRequest::default()
                    .with_timeout_ms(30_000)
                    .with_topics(topics.into()),
            );
            let codes = answer
                .topics
                .iter()
                .map(|topic| (&topic.name, topic.error_code));
            check(codes, [(&names.there, 36), (&new, 0)]);
        }
        ApiKey::DeleteTopics => {
            let missing = names.missing.clone();
            let request = match version {
                6.. => DeleteTopicsRequest::default()
                    .with_timeout_ms(30_000)
                    .with_topics(vec![DeleteTopicState::default().with_name(Some(missing))]),
                _ => DeleteTopicsRequest::default()
                    .with_timeout_ms(30_000)
                    .with_topic_names(vec![missing]),
            };
            assert_eq!(
                exchange(stream, version, &request).responses[0].error_code,
                3
            );
        }
        ApiKey::DescribeConfigs => {
            let resources = [(2, text(&names.there)), (4, StrBytes::from_static_str("1"))];
            let resources = resources.map(|(kind, name)| {
                DescribeConfigsResource::default()
                    .with_resource_type(kind)
                    .with_resource_name(name)
                    .with_configuration_keys(None)
            });
            let request = DescribeConfigsRequest::default()
                .with_resources(resources.into())
                .with_include_synonyms(true);
            let answer = exchange(stream, version, &request);
            assert!(answer.results.iter().all(|result| result.error_code == 0));
        }
        _ => ask_for_changes(stream, key, version, names),
    }
}

fn ask_for_changes(stream: &mut TcpStream, key: ApiKey, version: i16, names: &Names) {
    let text = |name: &TopicName| name.0.clone();
    match key {
        ApiKey::AlterConfigs => {
            let resource = alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text(&names.missing));
            let request = AlterConfigsRequest::default().with_resources(vec![resource]);
            assert_eq!(
                exchange(stream, version, &request).responses[0].error_code,
                3
            );
        }
        _ => {
            let resource = incremental_alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text(&names.missing));
            let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
            assert_eq!(
                exchange(stream, version, &request).responses[0].error_code,
                3
            );
        }
    }
}

fn ask_about_the_cluster(stream: &mut TcpStream, key: ApiKey, version: i16, names: &Names) {
    match key {
        ApiKey::Metadata => {
            // Until version 4 a request creates what it names.
            let missing = (version >= 4).then(|| names.missing.clone());
            let topics = [names.there.clone()].into_iter().chain(missing);
            let named = |name| MetadataRequestTopic::default().with_name(Some(name));
            let request = MetadataRequest::default()
                .with_topics(Some(topics.map(named).collect()))
                .with_allow_auto_topic_creation(version < 4);
            let answer = exchange(stream, version, &request);
            assert_eq!(answer.topics[0].error_code, 0);
            assert_eq!(answer.brokers.len(), 1);
            let all = MetadataRequest::default().with_topics((version == 0).then(Vec::new));
            exchange(stream, version, &all);
        }
        ApiKey::ApiVersions => {
            let request = ApiVersionsRequest::default()
                .with_client_software_name(StrBytes::from_static_str("test"))
                .with_client_software_version(StrBytes::from_static_str("1"));
            let request = if version >= 3 {
                request
            } else {
                ApiVersionsRequest::default()
            };
            assert_eq!(exchange(stream, version, &request).error_code, 0);
        }
        ApiKey::DescribeCluster => {
            let answer = exchange(
                stream,
                version,
                &DescribeClusterRequest::default().with_endpoint_type(1),
            );
            assert_eq!((answer.error_code, answer.brokers.len()), (0, 1));
        }
        _ => {
            let request = InitProducerIdRequest::default().with_transactional_id(None);
            let mut code = || exchange(stream, version, &request).error_code;
            // A cluster that has just started has no ids yet.
            wait_until(|| code() != ResponseError::CoordinatorLoadInProgress.code());
            assert_eq!(code(), 0);
        }
    }
}

/// A group of which nothing is known, once its coordinator answers: a cluster that has just started
/// makes its coordinators when they are first asked for, each for a part of the groups.
pub(crate) fn new_group(stream: &mut TcpStream) -> GroupId {
    let group = GroupId(StrBytes::from_string(unique("group")));
    find_coordinator(stream, 3, &group.0, FOR_GROUPS);
    let nobody = HeartbeatRequest::default().with_group_id(group.clone());
    exchange_until(stream, 0, &nobody, |answer| answer.error_code == 25);
    group
}

/// A transactional id that nobody has, once its coordinator answers.
pub(crate) fn new_transactional_id(stream: &mut TcpStream) -> TransactionalId {
    let id = TransactionalId(StrBytes::from_string(unique("missing")));
    find_coordinator(stream, 3, &id.0, FOR_TRANSACTIONS);
    let describe = DescribeTransactionsRequest::default().with_transactional_ids(vec![id.clone()]);
    exchange_until(stream, 0, &describe, |answer| {
        answer.transaction_states[0].error_code == 105
    });
    id
}

/// What `FindCoordinatorRequest` calls the kinds of coordinators.
const FOR_GROUPS: i8 = 0;
const FOR_TRANSACTIONS: i8 = 1;

fn find_coordinator(stream: &mut TcpStream, version: i16, key: &StrBytes, kind: i8) {
    // Version 0 knows groups only.
    let request = FindCoordinatorRequest::default().with_key_type(kind);
    let request = match version {
        4.. => request.with_coordinator_keys(vec![key.clone()]),
        _ => request.with_key(key.clone()),
    };
    exchange_until(stream, version, &request, |answer| match version {
        4.. => answer.coordinators[0].error_code == 0,
        _ => answer.error_code == 0,
    });
}

fn ask_about_groups(stream: &mut TcpStream, key: ApiKey, version: i16, names: &Names) {
    let group = new_group(stream);
    let member = StrBytes::from_static_str("nobody");
    match key {
        ApiKey::FindCoordinator => find_coordinator(stream, version, &group.0, FOR_GROUPS),
        ApiKey::JoinGroup => {
            let protocol = JoinGroupRequestProtocol::default()
                .with_name(StrBytes::from_static_str("range"))
                .with_metadata(Bytes::from_static(b"m"));
            let request = JoinGroupRequest::default()
                .with_group_id(group)
                .with_session_timeout_ms(6_000)
                .with_rebalance_timeout_ms(if version >= 1 { 6_000 } else { -1 })
                .with_protocol_type(StrBytes::from_static_str("consumer"))
                .with_protocols(vec![protocol]);
            let answer = exchange(stream, version, &request);
            assert_eq!(answer.error_code, if version >= 4 { 79 } else { 0 });
        }
        ApiKey::SyncGroup => {
            let request = SyncGroupRequest::default()
                .with_group_id(group)
                .with_member_id(member);
            // From version 5 on the protocol must be named.
            let expected = if version >= 5 { 23 } else { 25 };
            assert_eq!(exchange(stream, version, &request).error_code, expected);
        }
        ApiKey::Heartbeat => {
            let request = HeartbeatRequest::default()
                .with_group_id(group)
                .with_member_id(member);
            assert_eq!(exchange(stream, version, &request).error_code, 25);
        }
        ApiKey::LeaveGroup => {
            let request = LeaveGroupRequest::default().with_group_id(group);
            let request = match version {
                3.. => request.with_members(vec![MemberIdentity::default().with_member_id(member)]),
                _ => request.with_member_id(member),
            };
            exchange(stream, version, &request);
        }
        _ => ask_about_commits(stream, key, version, names),
    }
}

fn ask_about_commits(stream: &mut TcpStream, key: ApiKey, version: i16, names: &Names) {
    let group = new_group(stream);
    match key {
        ApiKey::OffsetCommit => {
            let topics = [names.there.clone(), names.missing.clone()].map(|name| {
                let partition = OffsetCommitRequestPartition::default().with_committed_offset(5);
                OffsetCommitRequestTopic::default()
                    .with_name(name)
                    .with_partitions(vec![partition])
            });
            let request = OffsetCommitRequest::default()
                .with_group_id(group)
                .with_generation_id_or_member_epoch(-1)
                .with_topics(topics.into());
            let answer = exchange(stream, version, &request);
            let codes = answer
                .topics
                .iter()
                .map(|topic| (&topic.name, topic.partitions[0].error_code));
            check(codes, [(&names.there, 0), (&names.missing, 3)]);
        }
        ApiKey::OffsetFetch => {
            let request = match version {
                8.. => {
                    let topic = OffsetFetchRequestTopics::default()
                        .with_name(names.there.clone())
                        .with_partition_indexes(vec![0]);
                    let group = OffsetFetchRequestGroup::default()
                        .with_group_id(group)
                        .with_topics(Some(vec![topic]));
                    OffsetFetchRequest::default().with_groups(vec![group])
                }
                _ => {
                    let topic = OffsetFetchRequestTopic::default()
                        .with_name(names.there.clone())
                        .with_partition_indexes(vec![0]);
                    OffsetFetchRequest::default()
                        .with_group_id(group)
                        .with_topics(Some(vec![topic]))
                }
            };
            assert_eq!(exchange(stream, version, &request).error_code, 0);
        }
        other => panic!("{other:?} is announced and not tried here"),
    }
}

#[test]
fn a_version_from_the_future_is_answered_with_what_is_served() {
    let cluster = Cluster::start();
    let mut stream = connect(cluster.bootstrap());
    let mut request = frame(3, 7, &ApiVersionsRequest::default()).to_vec();
    request[6..8].copy_from_slice(&99i16.to_be_bytes());
    std::io::Write::write_all(&mut stream, &request).unwrap();
    let (correlation_id, answer) = response::<ApiVersionsRequest>(&mut stream, 0).unwrap();
    assert_eq!((correlation_id, answer.error_code), (7, 35));
    assert!(!answer.api_keys.is_empty());
    // The connection lives on.
    assert_eq!(
        exchange(&mut stream, 0, &ApiVersionsRequest::default()).error_code,
        0
    );
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let cluster = Cluster::start();
    let mut stream = connect(cluster.bootstrap());
    let requests: Vec<u8> = (0..50)
        .flat_map(|id| frame(0, id, &ApiVersionsRequest::default()).to_vec())
        .collect();
    std::io::Write::write_all(&mut stream, &requests).unwrap();
    for id in 0..50 {
        assert_eq!(
            response::<ApiVersionsRequest>(&mut stream, 0).unwrap().0,
            id
        );
    }
}
