use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use tracing::error;

use super::error::{epoch_code, read_code};
use super::isolation::Isolation;
use crate::kafka::cluster::Cluster;
use crate::kafka::log::{Moment, Partition, ReadError};

/// Timestamps that ask for something else than a time.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const NEWEST_TIMESTAMP: i64 = -3;

/// Offset and timestamp of an answer that has none.
const NONE: i64 = -1;
const NO_EPOCH: i32 = -1;

pub(super) async fn handle(
    cluster: &Arc<Cluster>,
    version: i16,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let isolation = Isolation::from_wire(request.isolation_level);
    let mut topics = Vec::with_capacity(request.topics.len());
    for wanted in request.topics {
        let topic = cluster.topics.named(&wanted.name);
        let mut partitions = Vec::with_capacity(wanted.partitions.len());
        for asked in wanted.partitions {
            let partition = topic
                .as_ref()
                .and_then(|topic| topic.partition(asked.partition_index));
            // A job each: one may search a large batch, and others want their turn in between.
            let look = move || answer(partition.as_deref(), version, &asked, isolation);
            partitions.push(cluster.disk.run(look).await);
        }
        topics.push(
            ListOffsetsTopicResponse::default()
                .with_name(wanted.name)
                .with_partitions(partitions),
        );
    }
    ListOffsetsResponse::default().with_topics(topics)
}

fn answer(
    partition: Option<&Partition>,
    version: i16,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> ListOffsetsPartitionResponse {
    let response = ListOffsetsPartitionResponse::default()
        .with_partition_index(asked.partition_index)
        .with_timestamp(NONE)
        .with_offset(NONE);
    let Some(partition) = partition else {
        return response.with_error_code(ResponseError::UnknownTopicOrPartition.code());
    };
    if let Some(code) = epoch_code(asked.current_leader_epoch, partition.leader_epoch()) {
        return response.with_error_code(code.code());
    }
    match offset_at(partition, asked.timestamp, isolation) {
        Ok(Some(Moment { offset, timestamp })) => {
            let found = response.with_offset(offset).with_timestamp(timestamp);
            if version >= 4 {
                found.with_leader_epoch(partition.epoch_at(offset).unwrap_or(NO_EPOCH))
            } else {
                found
            }
        }
        Ok(None) => response,
        Err(cause) => {
            error!(
                cause = &cause as &dyn std::error::Error,
                "look up an offset by time"
            );
            response.with_error_code(read_code(&cause).code())
        }
    }
}

fn offset_at(
    partition: &Partition,
    timestamp: i64,
    isolation: Isolation,
) -> Result<Option<Moment>, ReadError> {
    let end_of = |offset| {
        Ok(Some(Moment {
            offset,
            timestamp: NONE,
        }))
    };
    match timestamp {
        LATEST => end_of(isolation.end_of(partition)),
        EARLIEST => end_of(partition.start_offset()),
        NEWEST_TIMESTAMP => partition.newest_by_time(),
        _ => {
            let end = isolation.end_of(partition);
            let found = partition.first_at_time(timestamp)?;
            Ok(found.filter(|moment| moment.offset < end))
        }
    }
}
