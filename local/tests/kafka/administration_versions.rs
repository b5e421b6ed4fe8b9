//! Every version of the requests about transactions, and of what tools ask about groups.

use std::net::TcpStream;

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, ApiKey, DeleteGroupsRequest,
    DescribeGroupsRequest, DescribeProducersRequest, DescribeTransactionsRequest, EndTxnRequest,
    ListGroupsRequest, ListTransactionsRequest, OffsetDeleteRequest, TopicName,
    TxnOffsetCommitRequest,
};

use crate::versions::{new_group, new_transactional_id};
use crate::wire::{exchange, exchange_until};

const INVALID_PRODUCER_ID_MAPPING: i16 = 49;
const GROUP_ID_NOT_FOUND: i16 = 69;

/// The newest version that is tried here; -1 for other requests.
pub(crate) fn newest(key: ApiKey) -> i16 {
    match key {
        ApiKey::DescribeGroups => 6,
        ApiKey::ListGroups => 5,
        ApiKey::AddOffsetsToTxn | ApiKey::EndTxn | ApiKey::TxnOffsetCommit => 4,
        ApiKey::AddPartitionsToTxn => 3,
        ApiKey::DeleteGroups => 2,
        ApiKey::ListTransactions => 1,
        ApiKey::OffsetDelete | ApiKey::DescribeProducers | ApiKey::DescribeTransactions => 0,
        _ => -1,
    }
}

pub(crate) fn ask(stream: &mut TcpStream, key: ApiKey, version: i16, topic: &TopicName) {
    match key {
        ApiKey::DescribeGroups
        | ApiKey::ListGroups
        | ApiKey::DeleteGroups
        | ApiKey::OffsetDelete => ask_about_groups(stream, key, version, topic),
        ApiKey::DescribeProducers | ApiKey::DescribeTransactions | ApiKey::ListTransactions => {
            ask_about_transactions(stream, key, version, topic);
        }
        _ => take_part(stream, key, version, topic),
    }
}

fn ask_about_groups(stream: &mut TcpStream, key: ApiKey, version: i16, topic: &TopicName) {
    let missing = new_group(stream);
    match key {
        ApiKey::DescribeGroups => {
            let request = DescribeGroupsRequest::default()
                .with_groups(vec![missing])
                .with_include_authorized_operations(version >= 3);
            let group = exchange(stream, version, &request).groups.remove(0);
            assert_eq!(group.group_state.as_str(), "Dead");
            let expected = if version >= 6 { GROUP_ID_NOT_FOUND } else { 0 };
            assert_eq!(group.error_code, expected);
        }
        ApiKey::ListGroups => {
            // Of all coordinators, of which one may still be loading.
            let request = ListGroupsRequest::default();
            exchange_until(stream, version, &request, |answer| answer.error_code == 0);
        }
        ApiKey::DeleteGroups => {
            let request = DeleteGroupsRequest::default().with_groups_names(vec![missing]);
            let answer = exchange(stream, version, &request);
            assert_eq!(answer.results[0].error_code, GROUP_ID_NOT_FOUND);
        }
        _ => {
            let topic = OffsetDeleteRequestTopic::default().with_name(topic.clone());
            let request = OffsetDeleteRequest::default()
                .with_group_id(missing)
                .with_topics(vec![topic]);
            let answer = exchange(stream, version, &request);
            assert_eq!(answer.error_code, GROUP_ID_NOT_FOUND);
        }
    }
}

fn ask_about_transactions(stream: &mut TcpStream, key: ApiKey, version: i16, topic: &TopicName) {
    match key {
        ApiKey::DescribeProducers => {
            let topic = TopicRequest::default()
                .with_name(topic.clone())
                .with_partition_indexes(vec![0]);
            let request = DescribeProducersRequest::default().with_topics(vec![topic]);
            let answer = exchange(stream, version, &request);
            assert_eq!(answer.topics[0].partitions[0].error_code, 0);
        }
        ApiKey::DescribeTransactions => {
            let missing = new_transactional_id(stream);
            let request =
                DescribeTransactionsRequest::default().with_transactional_ids(vec![missing]);
            let answer = exchange(stream, version, &request);
            assert_eq!(answer.transaction_states[0].error_code, 105);
        }
        _ => {
            let request = ListTransactionsRequest::default();
            exchange_until(stream, version, &request, |answer| answer.error_code == 0);
        }
    }
}

/// What producers say, under a transactional id that nobody has.
fn take_part(stream: &mut TcpStream, key: ApiKey, version: i16, topic: &TopicName) {
    let missing = new_transactional_id(stream);
    let group = new_group(stream);
    let code = match key {
        ApiKey::AddPartitionsToTxn => {
            let topic = AddPartitionsToTxnTopic::default()
                .with_name(topic.clone())
                .with_partitions(vec![0]);
            let request = AddPartitionsToTxnRequest::default()
                .with_v3_and_below_transactional_id(missing)
                .with_v3_and_below_topics(vec![topic]);
            let answer = exchange(stream, version, &request);
            answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
        }
        ApiKey::AddOffsetsToTxn => {
            let request = AddOffsetsToTxnRequest::default()
                .with_transactional_id(missing)
                .with_group_id(group);
            exchange(stream, version, &request).error_code
        }
        ApiKey::EndTxn => {
            let request = EndTxnRequest::default().with_transactional_id(missing);
            exchange(stream, version, &request).error_code
        }
        ApiKey::TxnOffsetCommit => {
            let partition = TxnOffsetCommitRequestPartition::default();
            let topic = TxnOffsetCommitRequestTopic::default()
                .with_name(topic.clone())
                .with_partitions(vec![partition]);
            let request = TxnOffsetCommitRequest::default()
                .with_transactional_id(missing)
                .with_group_id(group)
                .with_topics(vec![topic]);
            exchange(stream, version, &request).topics[0].partitions[0].error_code
        }
        other => panic!("{other:?} is not tried here"),
    };
    assert_eq!(code, INVALID_PRODUCER_ID_MAPPING, "{key:?} {version}");
}
