use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};
use kafka_protocol::protocol::StrBytes;

use super::metadata::CLUSTER_OPERATIONS;
use crate::kafka::cluster::{Cluster, NODE_ID};

/// The endpoint type of brokers, as against controllers (KIP-919).
const BROKERS: i8 = 1;

pub(super) fn handle(
    cluster: &Cluster,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    let response = DescribeClusterResponse::default()
        .with_cluster_id(StrBytes::from_string(cluster.id.clone()))
        .with_controller_id(NODE_ID);
    if request.endpoint_type != BROKERS {
        return response.with_error_code(ResponseError::MismatchedEndpointType.code());
    }
    let broker = DescribeClusterBroker::default()
        .with_broker_id(NODE_ID)
        .with_host(StrBytes::from_string(cluster.address.ip().to_string()))
        .with_port(i32::from(cluster.address.port()));
    let response = response.with_brokers(vec![broker]);
    if request.include_cluster_authorized_operations {
        response.with_cluster_authorized_operations(CLUSTER_OPERATIONS)
    } else {
        response
    }
}
