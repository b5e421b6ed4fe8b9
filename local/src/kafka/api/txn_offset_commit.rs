use std::sync::Arc;

use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};

use super::error::{NO_ERROR, outcome_code, transaction_code};
use super::offset_commit::{Asked, sift};
use crate::kafka::cluster::Cluster;
use crate::kafka::groups::Participant;
use crate::kafka::transactions::Producer;

/// No version of this request tells a fenced producer so; it hears that its epoch is over.
const FENCED_SINCE: i16 = i16::MAX;

/// Takes offsets that count once the producer's transaction is committed.
pub(super) async fn handle(
    cluster: &Arc<Cluster>,
    version: i16,
    request: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let member = Participant {
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.as_ref().map(ToString::to_string),
        generation: request.generation_id,
    };
    let checked = cluster
        .groups
        .check_transactional_commit(&request.group_id, &member);
    let refused = outcome_code(&checked);
    let topics = request.topics.into_iter();
    let topics = topics.map(|asked| (asked.name, asked.partitions));
    let (accepted, topics) = sift(cluster, refused, topics, |partition| Asked {
        index: partition.partition_index,
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.as_deref(),
    });
    let producer = Producer {
        transactional_id: request.transactional_id.to_string(),
        producer_id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    let transactions = Arc::clone(&cluster.transactions);
    let group = request.group_id.to_string();
    let keep = move || transactions.commit_offsets(&producer, &group, accepted);
    let kept = match cluster.disk.run(keep).await {
        Ok(()) => NO_ERROR,
        Err(refused) => transaction_code(&refused, version, FENCED_SINCE).code(),
    };
    let topics = topics.into_iter().map(|(name, answers)| {
        let partitions = answers.into_iter().map(|(index, code)| {
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(if code == NO_ERROR { kept } else { code })
        });
        TxnOffsetCommitResponseTopic::default()
            .with_name(name)
            .with_partitions(partitions.collect())
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}
