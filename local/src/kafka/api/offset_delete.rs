use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use tracing::error;

use super::error::{NO_ERROR, group_delete_code};
use crate::kafka::cluster::Cluster;
use crate::kafka::groups::GroupDeleteError;

pub(super) async fn handle(
    cluster: &Arc<Cluster>,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let work_cluster = Arc::clone(cluster);
    cluster
        .disk
        .run(move || delete(&work_cluster, request))
        .await
}

fn delete(cluster: &Cluster, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let group_id = request.group_id;
    let names = request.topics.iter().map(|topic| topic.name.as_str());
    let subscribed = match cluster.groups.subscribed(&group_id, names) {
        Err(GroupDeleteError::NotFound) if cluster.offsets.has(&group_id) => {
            vec![false; request.topics.len()]
        }
        Err(refused) => {
            return OffsetDeleteResponse::default()
                .with_error_code(group_delete_code(refused).code());
        }
        Ok(subscribed) => subscribed,
    };
    let mut deleted = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for (topic, subscribed) in request.topics.into_iter().zip(subscribed) {
        let answers = check(cluster, &topic, subscribed);
        let accepted = answers.iter().filter(|(_, code)| *code == NO_ERROR);
        deleted.extend(accepted.map(|(index, _)| (topic.name.to_string(), *index)));
        let partitions = answers.into_iter().map(|(index, code)| {
            OffsetDeleteResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(code)
        });
        let partitions = partitions.collect();
        topics.push(
            OffsetDeleteResponseTopic::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    match cluster.offsets.forget(&group_id, deleted) {
        Ok(()) => OffsetDeleteResponse::default().with_topics(topics),
        Err(cause) => {
            error!(%cause, "delete committed offsets");
            OffsetDeleteResponse::default().with_error_code(ResponseError::KafkaStorageError.code())
        }
    }
}

/// The code for each partition of a topic.
fn check(cluster: &Cluster, asked: &OffsetDeleteRequestTopic, subscribed: bool) -> Vec<(i32, i16)> {
    let topic = cluster.topics.named(&asked.name);
    let code = |index: i32| {
        let found = topic.as_ref().and_then(|topic| topic.partition(index));
        match found {
            None => ResponseError::UnknownTopicOrPartition.code(),
            Some(_) if subscribed => ResponseError::GroupSubscribedToTopic.code(),
            Some(_) => NO_ERROR,
        }
    };
    let indexes = asked.partitions.iter().map(|asked| asked.partition_index);
    indexes.map(|index| (index, code(index))).collect()
}
