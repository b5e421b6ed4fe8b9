use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};
use kafka_protocol::protocol::StrBytes;

use crate::kafka::cluster::Cluster;
use crate::kafka::groups::{Description, MemberDescription};

/// Everything that Kafka lets anyone do with a group where there are no ACLs: READ, DELETE and
/// DESCRIBE, as bits numbered by `AclOperation`.
const GROUP_OPERATIONS: i32 = 0b1_0100_1000;

/// The state of a group that is not there.
const DEAD: &str = "Dead";

pub(super) fn handle(
    cluster: &Cluster,
    version: i16,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let with_operations = request.include_authorized_operations;
    let groups = request.groups.into_iter().map(|id| {
        let described = match cluster.describe_group(&id) {
            Some(group) => described(cluster, version, id, group),
            None => not_found(version, id),
        };
        if with_operations {
            described.with_authorized_operations(GROUP_OPERATIONS)
        } else {
            described
        }
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

/// Until version 6 a group that is not there is described as dead (KIP-1043).
fn not_found(version: i16, id: GroupId) -> DescribedGroup {
    let text = format!("Group {} not found.", id.as_str());
    let group = DescribedGroup::default()
        .with_group_id(id)
        .with_group_state(StrBytes::from_static_str(DEAD));
    match version {
        6.. => group
            .with_error_code(ResponseError::GroupIdNotFound.code())
            .with_error_message(Some(StrBytes::from_string(text))),
        _ => group,
    }
}

fn described(cluster: &Cluster, version: i16, id: GroupId, group: Description) -> DescribedGroup {
    let members = group.members.into_iter();
    DescribedGroup::default()
        .with_group_id(id)
        .with_group_state(StrBytes::from_static_str(group.state))
        .with_protocol_type(StrBytes::from_string(group.protocol_type))
        .with_protocol_data(StrBytes::from_string(group.protocol))
        .with_members(
            members
                .map(|member| described_member(cluster, version, member))
                .collect(),
        )
}

fn described_member(
    cluster: &Cluster,
    version: i16,
    member: MemberDescription,
) -> DescribedGroupMember {
    // As Java prints an address. Clients come over the loopback interface only.
    let host = format!("/{}", cluster.address.ip());
    let described = DescribedGroupMember::default()
        .with_member_id(StrBytes::from_string(member.id))
        .with_client_id(StrBytes::from_string(member.client_id))
        .with_client_host(StrBytes::from_string(host))
        .with_member_metadata(member.metadata)
        .with_member_assignment(member.assignment);
    match version {
        4.. => described.with_group_instance_id(member.instance_id.map(StrBytes::from_string)),
        _ => described,
    }
}
