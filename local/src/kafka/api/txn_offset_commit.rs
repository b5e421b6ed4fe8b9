use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestPartition;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};

use super::error::{NO_ERROR, outcome_code, transaction_code};
use super::offset_commit::METADATA_BYTES_MAX;
use crate::kafka::cluster::{Cluster, now_ms};
use crate::kafka::groups::Participant;
use crate::kafka::offsets::Offset;
use crate::kafka::topics::Topic;
use crate::kafka::transactions::{Producer, TransactionError};

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
    let producer = Producer {
        transactional_id: request.transactional_id.to_string(),
        producer_id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    let transactions = Arc::clone(&cluster.transactions);
    let group = request.group_id.to_string();
    let keep = move || transactions.commit_offsets(&producer, &group, accepted);
    let kept: Result<(), TransactionError> = cluster.disk.run(keep).await;
    let kept = match kept {
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

fn check(topic: Option<&Topic>, partition: &TxnOffsetCommitRequestPartition) -> i16 {
    if topic
        .and_then(|topic| topic.partition(partition.partition_index))
        .is_none()
    {
        return ResponseError::UnknownTopicOrPartition.code();
    }
    let metadata = partition.committed_metadata.as_ref();
    if metadata.is_some_and(|metadata| metadata.len() > METADATA_BYTES_MAX) {
        return ResponseError::OffsetMetadataTooLarge.code();
    }
    NO_ERROR
}

fn offset(partition: &TxnOffsetCommitRequestPartition) -> Offset {
    let metadata = partition.committed_metadata.as_deref();
    Offset {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: metadata.unwrap_or_default().to_owned(),
        at: now_ms(),
    }
}
