use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;

use crate::kafka::cluster::Cluster;
use crate::kafka::groups::Listed;

/// The type of every group here; groups of KIP-848 would be "consumer".
const CLASSIC: &str = "classic";

pub(super) fn handle(
    cluster: &Cluster,
    version: i16,
    request: &ListGroupsRequest,
) -> ListGroupsResponse {
    let passes = |filter: &[StrBytes], value: &str| {
        filter.is_empty()
            || filter
                .iter()
                .any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    if !passes(&request.types_filter, CLASSIC) {
        return ListGroupsResponse::default();
    }
    let groups = cluster
        .all_groups()
        .into_iter()
        .filter(|group| passes(&request.states_filter, group.state));
    ListGroupsResponse::default().with_groups(groups.map(|group| listed(version, group)).collect())
}

fn listed(version: i16, group: Listed) -> ListedGroup {
    let listed = ListedGroup::default()
        .with_group_id(GroupId(StrBytes::from_string(group.group_id)))
        .with_protocol_type(StrBytes::from_string(group.protocol_type));
    let listed = match version {
        4.. => listed.with_group_state(StrBytes::from_static_str(group.state)),
        _ => listed,
    };
    match version {
        5.. => listed.with_group_type(StrBytes::from_static_str(CLASSIC)),
        _ => listed,
    }
}
