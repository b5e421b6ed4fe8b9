use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use tracing::error;

use super::error::{NO_ERROR, outcome_code};
use crate::kafka::cluster::{Cluster, now_ms};
use crate::kafka::groups::Participant;
use crate::kafka::offsets::Offset;
use crate::kafka::topics::Topic;

/// Kafka's `offset.metadata.max.bytes`.
pub(super) const METADATA_BYTES_MAX: usize = 4096;

pub(super) async fn handle(
    cluster: &Arc<Cluster>,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let member = Participant {
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.as_ref().map(ToString::to_string),
        generation: request.generation_id_or_member_epoch,
    };
    let refused = outcome_code(&cluster.groups.check_commit(&request.group_id, &member));
    let mut accepted = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for asked in request.topics {
        let topic = cluster.topics.named(&asked.name);
        let mut answers = Vec::with_capacity(asked.partitions.len());
        for partition in &asked.partitions {
            let mut code = refused;
            if code == NO_ERROR {
                code = check(topic.as_deref(), partition);
            }
            if code == NO_ERROR {
                let index = partition.partition_index;
                accepted.push((asked.name.to_string(), index, offset(partition)));
            }
            answers.push((partition.partition_index, code));
        }
        topics.push((asked.name, answers));
    }
    let stored = store(cluster, request.group_id.to_string(), accepted).await;
    let topics = topics.into_iter().map(|(name, answers)| {
        let partitions = answers.into_iter().map(|(index, code)| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(if code == NO_ERROR { stored } else { code })
        });
        OffsetCommitResponseTopic::default()
            .with_name(name)
            .with_partitions(partitions.collect())
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

fn check(topic: Option<&Topic>, partition: &OffsetCommitRequestPartition) -> i16 {
    if topic
        .and_then(|topic| topic.partition(partition.partition_index))
        .is_none()
    {
        return ResponseError::UnknownTopicOrPartition.code();
    }
    let metadata = partition
        .committed_metadata
        .as_ref()
        .map_or(0, |metadata| metadata.len());
    if metadata > METADATA_BYTES_MAX {
        return ResponseError::OffsetMetadataTooLarge.code();
    }
    NO_ERROR
}

fn offset(partition: &OffsetCommitRequestPartition) -> Offset {
    Offset {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition
            .committed_metadata
            .as_deref()
            .unwrap_or_default()
            .to_owned(),
        at: now_ms(),
    }
}

/// Gives the code for what was accepted.
async fn store(
    cluster: &Arc<Cluster>,
    group_id: String,
    accepted: Vec<(String, i32, Offset)>,
) -> i16 {
    if accepted.is_empty() {
        return NO_ERROR;
    }
    let offsets = Arc::clone(&cluster.offsets);
    match cluster
        .disk
        .run(move || offsets.commit(&group_id, accepted))
        .await
    {
        Ok(()) => NO_ERROR,
        Err(cause) => {
            error!(%cause, "commit offsets");
            ResponseError::KafkaStorageError.code()
        }
    }
}
