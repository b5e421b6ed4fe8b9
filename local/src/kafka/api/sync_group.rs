use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};
use kafka_protocol::protocol::StrBytes;

use super::error::group_code;
use crate::kafka::cluster::Cluster;
use crate::kafka::groups::{GroupError, Participant, Sync};

pub(super) async fn handle(
    cluster: &Arc<Cluster>,
    version: i16,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    // Both must be named since they can be.
    if version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        let code = group_code(&GroupError::InconsistentProtocol).code();
        return SyncGroupResponse::default().with_error_code(code);
    }
    let text = |text: Option<StrBytes>| text.map(|text| text.to_string());
    let sync = Sync {
        member: Participant {
            member_id: request.member_id.to_string(),
            instance_id: text(request.group_instance_id),
            generation: request.generation_id,
        },
        protocol_type: text(request.protocol_type),
        protocol: text(request.protocol_name),
        assignments: request
            .assignments
            .into_iter()
            // A copy: what is kept must not keep the whole request.
            .map(|assigned| {
                (
                    assigned.member_id.to_string(),
                    Bytes::copy_from_slice(&assigned.assignment),
                )
            })
            .collect(),
    };
    match cluster.groups.sync(&request.group_id, sync).await {
        Ok(synced) => {
            let response = SyncGroupResponse::default().with_assignment(synced.assignment);
            if version < 5 {
                return response;
            }
            response
                .with_protocol_type(Some(StrBytes::from_string(synced.protocol_type)))
                .with_protocol_name(Some(StrBytes::from_string(synced.protocol)))
        }
        Err(refused) => SyncGroupResponse::default().with_error_code(group_code(&refused).code()),
    }
}
