use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::delete_records_request::DeleteRecordsPartition;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use tracing::error;

use super::error::NO_ERROR;
use crate::kafka::cluster::Cluster;
use crate::kafka::log::DeleteRecordsError;
use crate::kafka::topics::Topic;

/// "Up to the high watermark", in place of an offset.
const ALL: i64 = -1;

/// The low watermark of an answer that has none.
const NONE: i64 = -1;

pub(super) async fn handle(
    cluster: &Arc<Cluster>,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let topics = Arc::clone(&cluster.topics);
    let delete = move || {
        let answers = request.topics.into_iter().map(|wanted| {
            let topic = topics.named(&wanted.name);
            let partitions = wanted
                .partitions
                .iter()
                .map(|wanted| answer(topic.as_deref(), wanted));
            DeleteRecordsTopicResult::default()
                .with_partitions(partitions.collect())
                .with_name(wanted.name)
        });
        answers.collect()
    };
    DeleteRecordsResponse::default().with_topics(cluster.disk.run(delete).await)
}

fn answer(topic: Option<&Topic>, wanted: &DeleteRecordsPartition) -> DeleteRecordsPartitionResult {
    let (low_watermark, error_code) = match delete(topic, wanted) {
        Ok(low_watermark) => (low_watermark, NO_ERROR),
        Err(code) => (NONE, code.code()),
    };
    DeleteRecordsPartitionResult::default()
        .with_partition_index(wanted.partition_index)
        .with_low_watermark(low_watermark)
        .with_error_code(error_code)
}

/// Gives the first offset that is left.
fn delete(topic: Option<&Topic>, wanted: &DeleteRecordsPartition) -> Result<i64, ResponseError> {
    let topic = topic.ok_or(ResponseError::UnknownTopicOrPartition)?;
    let partition = topic
        .partition(wanted.partition_index)
        .ok_or(ResponseError::UnknownTopicOrPartition)?;
    // In a topic that is only compacted every key keeps its last record.
    if !topic.config().deletes() {
        return Err(ResponseError::PolicyViolation);
    }
    let before = (wanted.offset != ALL).then_some(wanted.offset);
    partition
        .delete_before(before)
        .map_err(|cause| match cause {
            DeleteRecordsError::OutOfRange { .. } => ResponseError::OffsetOutOfRange,
            DeleteRecordsError::Io(cause) => {
                let partition = wanted.partition_index;
                error!(topic = topic.name, partition, %cause, "delete records");
                ResponseError::KafkaStorageError
            }
        })
}
