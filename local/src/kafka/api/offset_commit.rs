use std::sync::Arc;

use kafka_protocol::error::ResponseError;
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
const METADATA_BYTES_MAX: usize = 4096;

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
            let index = partition.partition_index;
            let metadata = partition.committed_metadata.as_deref();
            let mut code = refused;
            if code == NO_ERROR {
                code = check(topic.as_deref(), index, metadata);
            }
            if code == NO_ERROR {
                let (at, epoch) = (partition.committed_offset, partition.committed_leader_epoch);
                let committed = offset(at, epoch, metadata);
                accepted.push((asked.name.to_string(), index, committed));
            }
            answers.push((index, code));
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

/// The code for an offset that is to be committed for a partition.
pub(super) fn check(topic: Option<&Topic>, index: i32, metadata: Option<&str>) -> i16 {
    if topic.and_then(|topic| topic.partition(index)).is_none() {
        return ResponseError::UnknownTopicOrPartition.code();
    }
    if metadata.is_some_and(|metadata| metadata.len() > METADATA_BYTES_MAX) {
        return ResponseError::OffsetMetadataTooLarge.code();
    }
    NO_ERROR
}

pub(super) fn offset(offset: i64, leader_epoch: i32, metadata: Option<&str>) -> Offset {
    Offset {
        offset,
        leader_epoch,
        metadata: metadata.unwrap_or_default().to_owned(),
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
