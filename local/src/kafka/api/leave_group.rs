use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::error::outcome_code;
use crate::kafka::cluster::Cluster;
use crate::kafka::groups::Leave;

pub(super) fn handle(
    cluster: &Cluster,
    version: i16,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let group_id = request.group_id;
    if version < 3 {
        let leave = Leave {
            member_id: request.member_id.to_string(),
            instance_id: None,
        };
        let outcome = cluster.groups.leave(&group_id, &leave);
        return LeaveGroupResponse::default().with_error_code(outcome_code(&outcome));
    }
    let members = request.members.into_iter().map(|member| {
        let leave = Leave {
            member_id: member.member_id.to_string(),
            instance_id: member.group_instance_id.as_ref().map(ToString::to_string),
        };
        let outcome = cluster.groups.leave(&group_id, &leave);
        MemberResponse::default()
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
            .with_error_code(outcome_code(&outcome))
    });
    LeaveGroupResponse::default().with_members(members.collect())
}
