use std::sync::Arc;

use kafka_protocol::messages::{EndTxnRequest, EndTxnResponse};

use super::error::{NO_ERROR, transaction_code};
use crate::kafka::cluster::{Cluster, now_ms};
use crate::kafka::transactions::{Outcome, Producer};

/// The version from which on a fenced producer is told so.
const FENCED_SINCE: i16 = 2;

pub(super) async fn handle(
    cluster: &Arc<Cluster>,
    version: i16,
    request: EndTxnRequest,
) -> EndTxnResponse {
    let producer = Producer {
        transactional_id: request.transactional_id.to_string(),
        producer_id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    let outcome = if request.committed {
        Outcome::Commit
    } else {
        Outcome::Abort
    };
    let transactions = Arc::clone(&cluster.transactions);
    let end = move || transactions.end(&producer, outcome, now_ms());
    let code = match cluster.disk.run(end).await {
        Ok(()) => NO_ERROR,
        Err(refused) => transaction_code(&refused, version, FENCED_SINCE).code(),
    };
    EndTxnResponse::default().with_error_code(code)
}
