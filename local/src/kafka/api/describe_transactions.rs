use std::collections::BTreeMap;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, ProducerId, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use crate::kafka::cluster::Cluster;
use crate::kafka::transactions::Transaction;

pub(super) fn handle(
    cluster: &Cluster,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let states = request.transactional_ids.into_iter().map(|id| {
        let found = cluster.transactions.describe(&id);
        let state = TransactionState::default().with_transactional_id(id);
        match found {
            Some(transaction) => described(state, transaction),
            None => state.with_error_code(ResponseError::TransactionalIdNotFound.code()),
        }
    });
    DescribeTransactionsResponse::default().with_transaction_states(states.collect())
}

fn described(state: TransactionState, transaction: Transaction) -> TransactionState {
    let mut topics = BTreeMap::<String, Vec<i32>>::new();
    for (name, index) in transaction.partitions {
        topics.entry(name).or_default().push(index);
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        TopicData::default()
            .with_topic(TopicName(StrBytes::from_string(name)))
            .with_partitions(partitions)
    });
    state
        .with_transaction_state(StrBytes::from_static_str(transaction.state.name()))
        .with_transaction_timeout_ms(transaction.timeout_ms)
        .with_transaction_start_time_ms(transaction.started_ms)
        .with_producer_id(ProducerId(transaction.producer_id))
        .with_producer_epoch(transaction.epoch)
        .with_topics(topics.collect())
}
