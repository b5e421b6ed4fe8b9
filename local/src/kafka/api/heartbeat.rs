use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::error::outcome_code;
use crate::kafka::cluster::Cluster;
use crate::kafka::groups::Participant;

pub(super) fn handle(cluster: &Cluster, request: &HeartbeatRequest) -> HeartbeatResponse {
    let member = Participant {
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.as_ref().map(ToString::to_string),
        generation: request.generation_id,
    };
    let outcome = cluster.groups.heartbeat(&request.group_id, &member);
    HeartbeatResponse::default().with_error_code(outcome_code(&outcome))
}
