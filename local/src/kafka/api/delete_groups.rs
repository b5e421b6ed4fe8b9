use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};
use tracing::error;

use super::error::{NO_ERROR, group_delete_code};
use crate::kafka::cluster::Cluster;
use crate::kafka::groups::GroupDeleteError;

pub(super) async fn handle(
    cluster: &Arc<Cluster>,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let work_cluster = Arc::clone(cluster);
    let delete = move || {
        let results = request.groups_names.into_iter().map(|id| {
            let code = delete(&work_cluster, &id);
            DeletableGroupResult::default()
                .with_group_id(id)
                .with_error_code(code)
        });
        results.collect()
    };
    DeleteGroupsResponse::default().with_results(cluster.disk.run(delete).await)
}

fn delete(cluster: &Cluster, group_id: &str) -> i16 {
    if group_id.is_empty() {
        return ResponseError::InvalidGroupId.code();
    }
    match cluster.groups.delete(group_id) {
        Err(GroupDeleteError::NotFound) if cluster.offsets.has(group_id) => {}
        Err(refused) => return group_delete_code(refused).code(),
        Ok(()) => {}
    }
    match cluster.offsets.forget_group(group_id) {
        Ok(()) => NO_ERROR,
        Err(cause) => {
            error!(%cause, "delete the offsets of a group");
            ResponseError::KafkaStorageError.code()
        }
    }
}
