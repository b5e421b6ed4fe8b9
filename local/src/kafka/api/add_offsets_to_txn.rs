use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use super::error::{NO_ERROR, transaction_code};
use crate::kafka::cluster::{Cluster, now_ms};
use crate::kafka::transactions::Producer;

/// The version from which on a fenced producer is told so.
const FENCED_SINCE: i16 = 2;

pub(super) async fn handle(
    cluster: &Arc<Cluster>,
    version: i16,
    request: AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    let group = request.group_id.to_string();
    if group.is_empty() {
        let code = ResponseError::InvalidGroupId.code();
        return AddOffsetsToTxnResponse::default().with_error_code(code);
    }
    let producer = Producer {
        transactional_id: request.transactional_id.to_string(),
        producer_id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    let transactions = Arc::clone(&cluster.transactions);
    let add = move || transactions.add_group(&producer, &group, now_ms());
    let code = match cluster.disk.run(add).await {
        Ok(()) => NO_ERROR,
        Err(refused) => transaction_code(&refused, version, FENCED_SINCE).code(),
    };
    AddOffsetsToTxnResponse::default().with_error_code(code)
}
