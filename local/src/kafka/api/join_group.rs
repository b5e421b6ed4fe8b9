use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::error::group_code;
use crate::kafka::cluster::Cluster;
use crate::kafka::groups::{GroupError, Join, Joined};
use crate::kafka::wire::RequestHeader;

pub(super) async fn handle(
    cluster: &Arc<Cluster>,
    header: &RequestHeader,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let version = header.api_version;
    let group_id = request.group_id.to_string();
    let member_id = request.member_id.clone();
    let join = parse(header, request);
    match cluster.groups.join(&group_id, join).await {
        Ok(joined) => accepted(version, joined),
        Err(refused) => {
            let member_id = match &refused {
                GroupError::MemberIdRequired(given) => StrBytes::from_string(given.clone()),
                _ => member_id,
            };
            JoinGroupResponse::default()
                .with_error_code(group_code(&refused).code())
                .with_generation_id(-1)
                .with_member_id(member_id)
                // Only from version 7 on may it be null.
                .with_protocol_name((version < 7).then(StrBytes::default))
        }
    }
}

fn parse(header: &RequestHeader, request: JoinGroupRequest) -> Join {
    let version = header.api_version;
    let instance_id = request.group_instance_id.map(|id| id.to_string());
    // Named after the client, as from Kafka, so that an operator can tell members apart.
    let named_after = instance_id.as_ref().or(header.client_id.as_ref());
    let named_after = named_after.map_or("client", String::as_str);
    let session_timeout = millis(request.session_timeout_ms);
    Join {
        member_id: request.member_id.to_string(),
        client_id: header.client_id.clone().unwrap_or_default(),
        new_member_id: format!("{named_after}-{}", Uuid::new_v4()),
        must_know_its_id: version >= 4 && instance_id.is_none(),
        instance_id,
        can_skip_assignment: version >= 9,
        protocol_type: request.protocol_type.to_string(),
        protocols: request
            .protocols
            .into_iter()
            // A copy: what is kept must not keep the whole request.
            .map(|offered| {
                (
                    offered.name.to_string(),
                    Bytes::copy_from_slice(&offered.metadata),
                )
            })
            .collect(),
        session_timeout,
        rebalance_timeout: match version {
            0 => session_timeout,
            _ => millis(request.rebalance_timeout_ms),
        },
    }
}

fn accepted(version: i16, joined: Joined) -> JoinGroupResponse {
    let members = joined
        .members
        .into_iter()
        .map(|(member_id, instance_id, metadata)| {
            let member = JoinGroupResponseMember::default()
                .with_member_id(StrBytes::from_string(member_id))
                .with_metadata(metadata);
            if version >= 5 {
                member.with_group_instance_id(instance_id.map(StrBytes::from_string))
            } else {
                member
            }
        });
    let response = JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_name(Some(StrBytes::from_string(joined.protocol)))
        .with_leader(StrBytes::from_string(joined.leader))
        .with_skip_assignment(joined.skip_assignment)
        .with_member_id(StrBytes::from_string(joined.member_id))
        .with_members(members.collect());
    if version >= 7 {
        response.with_protocol_type(Some(StrBytes::from_string(joined.protocol_type)))
    } else {
        response
    }
}

fn millis(timeout: i32) -> Duration {
    Duration::from_millis(u64::try_from(timeout).unwrap_or(0))
}
