use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};

use super::error::{NO_ERROR, transaction_code};
use crate::kafka::cluster::{Cluster, now_ms};
use crate::kafka::transactions::Producer;

/// The version from which on a fenced producer is told so.
const FENCED_SINCE: i16 = 2;

/// All partitions become part of the transaction, or none.
pub(super) async fn handle(
    cluster: &Arc<Cluster>,
    version: i16,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    let topics = request.v3_and_below_topics;
    let producer = Producer {
        transactional_id: request.v3_and_below_transactional_id.to_string(),
        producer_id: request.v3_and_below_producer_id.0,
        epoch: request.v3_and_below_producer_epoch,
    };
    let exists = |name: &str, index: i32| {
        let topic = cluster.topics.named(name);
        topic.is_some_and(|topic| topic.partition(index).is_some())
    };
    let all_exist = all(&topics).all(|(name, index)| exists(name, index));
    if !all_exist {
        return answer(&topics, |name, index| match exists(name, index) {
            true => ResponseError::OperationNotAttempted.code(),
            false => ResponseError::UnknownTopicOrPartition.code(),
        });
    }
    let partitions: Vec<(String, i32)> = all(&topics)
        .map(|(name, index)| (name.to_owned(), index))
        .collect();
    let transactions = Arc::clone(&cluster.transactions);
    let add = move || transactions.add_partitions(&producer, &partitions, now_ms());
    let code = match cluster.disk.run(add).await {
        Ok(()) => NO_ERROR,
        Err(refused) => transaction_code(&refused, version, FENCED_SINCE).code(),
    };
    answer(&topics, |_, _| code)
}

fn all(topics: &[AddPartitionsToTxnTopic]) -> impl Iterator<Item = (&str, i32)> {
    topics.iter().flat_map(|topic| {
        let indexes = topic.partitions.iter();
        indexes.map(|index| (topic.name.as_str(), *index))
    })
}

fn answer(
    topics: &[AddPartitionsToTxnTopic],
    code: impl Fn(&str, i32) -> i16,
) -> AddPartitionsToTxnResponse {
    let results = topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|index| {
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*index)
                .with_partition_error_code(code(&topic.name, *index))
        });
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(partitions.collect())
    });
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results.collect())
}
