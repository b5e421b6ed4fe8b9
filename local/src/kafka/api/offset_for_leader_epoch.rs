use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::error::epoch_code;
use crate::kafka::cluster::Cluster;
use crate::kafka::log::Partition;

/// Tells where the records of a leader epoch end, by which a client that has read further finds out
/// that records were lost (KIP-320).
pub(super) async fn handle(
    cluster: &Arc<Cluster>,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = Arc::clone(&cluster.topics);
    let look = move || {
        let answers = request.topics.into_iter().map(|asked| {
            let topic = topics.named(&asked.topic);
            let partitions = asked.partitions.iter().map(|asked| {
                let partition = topic
                    .as_ref()
                    .and_then(|topic| topic.partition(asked.partition));
                answer(partition.as_deref(), asked)
            });
            OffsetForLeaderTopicResult::default()
                .with_partitions(partitions.collect())
                .with_topic(asked.topic)
        });
        answers.collect()
    };
    OffsetForLeaderEpochResponse::default().with_topics(cluster.disk.run(look).await)
}

fn answer(partition: Option<&Partition>, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    // Without more: epoch and offset of -1, for "not known".
    let answer = EpochEndOffset::default().with_partition(asked.partition);
    let Some(partition) = partition else {
        return answer.with_error_code(ResponseError::UnknownTopicOrPartition.code());
    };
    if let Some(code) = epoch_code(asked.current_leader_epoch, partition.leader_epoch()) {
        return answer.with_error_code(code.code());
    }
    match partition.end_of_epoch(asked.leader_epoch) {
        Some(end) if asked.leader_epoch >= 0 => answer
            .with_leader_epoch(end.epoch)
            .with_end_offset(end.end_offset),
        _ => answer,
    }
}
