use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse, TopicName};
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
    let topics = request.topics.into_iter();
    let topics = topics.map(|asked| (asked.name, asked.partitions));
    let (accepted, topics) = sift(cluster, refused, topics, |partition| Asked {
        index: partition.partition_index,
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.as_deref(),
    });
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

/// An offset that is to be committed for a partition.
pub(super) struct Asked<'a> {
    pub(super) index: i32,
    pub(super) offset: i64,
    pub(super) leader_epoch: i32,
    pub(super) metadata: Option<&'a str>,
}

/// Offsets to keep, by topic and partition.
pub(super) type Accepted = Vec<(String, i32, Offset)>;

/// The code of each partition, by topic, as the request has them.
pub(super) type Codes = Vec<(TopicName, Vec<(i32, i16)>)>;

/// Tells the offsets that may be kept from those that may not, which are all where the member is
/// `refused`.
pub(super) fn sift<P>(
    cluster: &Cluster,
    refused: i16,
    topics: impl Iterator<Item = (TopicName, Vec<P>)>,
    asked: impl Fn(&P) -> Asked<'_>,
) -> (Accepted, Codes) {
    let mut accepted = Vec::new();
    let codes = topics.map(|(name, partitions)| {
        let topic = cluster.topics.named(&name);
        let codes = partitions.iter().map(&asked).map(|asked| {
            let mut code = refused;
            if code == NO_ERROR {
                code = check(topic.as_deref(), &asked);
            }
            if code == NO_ERROR {
                accepted.push((name.to_string(), asked.index, offset(&asked)));
            }
            (asked.index, code)
        });
        let codes = codes.collect();
        (name, codes)
    });
    let codes = codes.collect();
    (accepted, codes)
}

fn check(topic: Option<&Topic>, asked: &Asked<'_>) -> i16 {
    if topic
        .and_then(|topic| topic.partition(asked.index))
        .is_none()
    {
        return ResponseError::UnknownTopicOrPartition.code();
    }
    let metadata = asked.metadata.unwrap_or_default();
    if metadata.len() > METADATA_BYTES_MAX {
        return ResponseError::OffsetMetadataTooLarge.code();
    }
    NO_ERROR
}

fn offset(asked: &Asked<'_>) -> Offset {
    Offset {
        offset: asked.offset,
        leader_epoch: asked.leader_epoch,
        metadata: asked.metadata.unwrap_or_default().to_owned(),
        at: now_ms(),
    }
}

/// Gives the code for what was accepted.
async fn store(cluster: &Arc<Cluster>, group_id: String, accepted: Accepted) -> i16 {
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
