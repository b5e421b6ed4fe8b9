use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};
use tracing::error;

use super::error::transaction_code;
use crate::kafka::cluster::{Cluster, now_ms};

/// The version from which on a fenced producer is told so.
const FENCED_SINCE: i16 = 4;

/// Gives a producer its id: an idempotent one another each time that it asks, as from Kafka, a
/// transactional one that of its transactional id with the next epoch.
pub(super) async fn handle(
    cluster: &Arc<Cluster>,
    version: i16,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let given = match &request.transactional_id {
        Some(id) => transactional(cluster, version, id.to_string(), &request).await,
        None => idempotent(cluster).await,
    };
    match given {
        Ok((producer_id, epoch)) => InitProducerIdResponse::default()
            .with_producer_id(ProducerId(producer_id))
            .with_producer_epoch(epoch),
        Err(code) => InitProducerIdResponse::default()
            .with_error_code(code.code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1),
    }
}

async fn transactional(
    cluster: &Arc<Cluster>,
    version: i16,
    id: String,
    request: &InitProducerIdRequest,
) -> Result<(i64, i16), ResponseError> {
    let (producer_id, epoch) = (request.producer_id.0, request.producer_epoch);
    let expected = match (producer_id, epoch) {
        (-1, -1) => None,
        (0.., 0..) => Some((producer_id, epoch)),
        _ => return Err(ResponseError::InvalidRequest),
    };
    let timeout_ms = request.transaction_timeout_ms;
    let transactions = Arc::clone(&cluster.transactions);
    let init = move || transactions.init(&id, timeout_ms, expected, now_ms());
    match cluster.disk.run(init).await {
        Ok(decided) => Ok((decided.producer_id, decided.epoch)),
        Err(refused) => Err(transaction_code(&refused, version, FENCED_SINCE)),
    }
}

async fn idempotent(cluster: &Arc<Cluster>) -> Result<(i64, i16), ResponseError> {
    let ids = Arc::clone(&cluster.producer_ids);
    match cluster.disk.run(move || ids.next()).await {
        Ok(id) => Ok((id, 0)),
        Err(cause) => {
            error!(%cause, "reserve producer ids");
            Err(ResponseError::KafkaStorageError)
        }
    }
}
