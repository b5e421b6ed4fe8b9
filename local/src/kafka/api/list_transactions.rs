use kafka_protocol::messages::list_transactions_response::TransactionState;
use kafka_protocol::messages::{
    ListTransactionsRequest, ListTransactionsResponse, ProducerId, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;

use crate::kafka::cluster::{Cluster, now_ms};
use crate::kafka::transactions::Transaction;

/// Kafka's names of all states; another one in a filter is told back as unknown.
const STATES: [&str; 8] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];

pub(super) fn handle(
    cluster: &Cluster,
    request: ListTransactionsRequest,
) -> ListTransactionsResponse {
    let now_ms = now_ms();
    let passes = |transaction: &Transaction| {
        let state = transaction.state.name();
        let has_state = request
            .state_filters
            .iter()
            .any(|wanted| **wanted == *state);
        let producers = &request.producer_id_filters;
        let has_producer = producers.contains(&ProducerId(transaction.producer_id));
        let started = transaction.started_ms;
        let runs_for = now_ms.saturating_sub(started);
        (request.state_filters.is_empty() || has_state)
            && (producers.is_empty() || has_producer)
            && (request.duration_filter < 0 || started >= 0 && runs_for > request.duration_filter)
    };
    let states = cluster.transactions.all(passes).into_iter();
    let states = states.map(|(id, transaction)| {
        TransactionState::default()
            .with_transactional_id(TransactionalId(StrBytes::from_string(id)))
            .with_producer_id(ProducerId(transaction.producer_id))
            .with_transaction_state(StrBytes::from_static_str(transaction.state.name()))
    });
    let response = ListTransactionsResponse::default().with_transaction_states(states.collect());
    let unknown = |name: &StrBytes| !STATES.contains(&name.as_str());
    let unknown = request.state_filters.into_iter().filter(unknown);
    response.with_unknown_state_filters(unknown.collect())
}
