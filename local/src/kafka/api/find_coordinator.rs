use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use crate::kafka::cluster::{Cluster, NODE_ID};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub(super) fn handle(
    cluster: &Arc<Cluster>,
    version: i16,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let refused = match request.key_type {
        GROUP | TRANSACTION => None,
        _ => Some((
            ResponseError::InvalidRequest,
            "there is no coordinator of this kind",
        )),
    };
    if version >= 4 {
        let found = request
            .coordinator_keys
            .into_iter()
            .map(|key| one(cluster, key, refused));
        return FindCoordinatorResponse::default().with_coordinators(found.collect());
    }
    let found = one(cluster, request.key, refused);
    let response = FindCoordinatorResponse::default()
        .with_node_id(found.node_id)
        .with_host(found.host)
        .with_port(found.port)
        .with_error_code(found.error_code);
    if version >= 1 {
        response.with_error_message(found.error_message)
    } else {
        response
    }
}

fn one(
    cluster: &Cluster,
    key: StrBytes,
    refused: Option<(ResponseError, &'static str)>,
) -> Coordinator {
    let found = Coordinator::default().with_key(key);
    match refused {
        None => found
            .with_node_id(NODE_ID)
            .with_host(StrBytes::from_string(cluster.address.ip().to_string()))
            .with_port(i32::from(cluster.address.port()))
            .with_error_message(None),
        Some((code, text)) => found
            .with_node_id(BrokerId(-1))
            .with_port(-1)
            .with_error_code(code.code())
            .with_error_message(Some(StrBytes::from_static_str(text))),
    }
}
