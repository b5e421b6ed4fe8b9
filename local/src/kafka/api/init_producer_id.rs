use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};
use tracing::error;

use crate::kafka::cluster::Cluster;

/// Gives an idempotent producer a new id. One that asks again gets another, as from Kafka.
pub(super) async fn handle(
    cluster: &Arc<Cluster>,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let refused = |code: ResponseError| {
        InitProducerIdResponse::default()
            .with_error_code(code.code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
    };
    if request.transactional_id.is_some() {
        // Not to be tried again, so that the client names it instead of waiting.
        return refused(ResponseError::TransactionalIdAuthorizationFailed);
    }
    let ids = Arc::clone(&cluster.producer_ids);
    match cluster.disk.run(move || ids.next()).await {
        Ok(id) => InitProducerIdResponse::default().with_producer_id(ProducerId(id)),
        Err(cause) => {
            error!(%cause, "reserve producer ids");
            refused(ResponseError::KafkaStorageError)
        }
    }
}
