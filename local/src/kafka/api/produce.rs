use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use kafka_protocol::protocol::StrBytes;
use tracing::{debug, error};

use super::ApiError;
use super::error::{append_code, message};
use crate::kafka::cluster::{Cluster, now_ms};
use crate::kafka::log::{AppendError, Appended};
use crate::kafka::topics::{Topic, Topics};

const NO_ACKNOWLEDGEMENT: i16 = 0;
const ALL_REPLICAS: i16 = -1;

/// Appends the batches of a request; `None` when the client wants no answer.
pub(super) async fn handle(
    cluster: &Arc<Cluster>,
    request: ProduceRequest,
) -> Result<Option<ProduceResponse>, ApiError> {
    let acks = request.acks;
    let topics = Arc::clone(&cluster.topics);
    let append = move || {
        let answers = request
            .topic_data
            .into_iter()
            .map(|data| append_topic(&topics, data, acks));
        answers.collect::<Vec<_>>()
    };
    let responses = cluster.disk.run(append).await;
    if acks != NO_ACKNOWLEDGEMENT {
        return Ok(Some(ProduceResponse::default().with_responses(responses)));
    }
    let failed = |answer: &PartitionProduceResponse| answer.error_code != 0;
    // Kafka closes the connection too: it is the only sign that a client can see.
    if responses
        .iter()
        .any(|topic| topic.partition_responses.iter().any(failed))
    {
        return Err(ApiError::Unacknowledged);
    }
    Ok(None)
}

fn append_topic(topics: &Topics, data: TopicProduceData, acks: i16) -> TopicProduceResponse {
    let topic = topics.named(&data.name);
    let answers = data.partition_data.into_iter().map(|partition| {
        let response = PartitionProduceResponse::default()
            .with_index(partition.index)
            .with_base_offset(-1)
            .with_log_append_time_ms(-1);
        match append(topic.as_deref(), &partition, acks) {
            Ok(appended) => response
                .with_base_offset(appended.base_offset)
                .with_log_append_time_ms(appended.append_time.unwrap_or(-1))
                .with_log_start_offset(appended.start_offset),
            Err(refused) => {
                refused.log(&data.name, partition.index);
                response
                    .with_error_code(refused.code().code())
                    .with_error_message(message(&refused))
                    .with_record_errors(refused.of_records(&data.name, partition.index))
            }
        }
    });
    let answers = answers.collect();
    TopicProduceResponse::default()
        .with_name(data.name)
        .with_partition_responses(answers)
}

/// Why a partition's records are not stored.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the topic or partition does not exist")]
    Unknown,
    #[error("acks must be 0, 1 or -1")]
    Acks,
    #[error("the topic wants more replicas in sync than there are")]
    Replicas,
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl Refused {
    fn code(&self) -> ResponseError {
        match self {
            Self::Unknown => ResponseError::UnknownTopicOrPartition,
            Self::Acks => ResponseError::InvalidRequiredAcks,
            Self::Replicas => ResponseError::NotEnoughReplicas,
            Self::Append(cause) => append_code(cause),
        }
    }

    /// Which records of the batch are in the way.
    fn of_records(&self, topic: &str, partition: i32) -> Vec<BatchIndexAndErrorMessage> {
        let Self::Append(AppendError::WithoutKey(without)) = self else {
            return Vec::new();
        };
        let text = format!(
            "Compacted topic cannot accept message without key in topic partition {topic}-{partition}"
        );
        let text = StrBytes::from_string(text);
        let of_record = |number: &i32| {
            BatchIndexAndErrorMessage::default()
                .with_batch_index(*number)
                .with_batch_index_error_message(Some(text.clone()))
        };
        without.iter().map(of_record).collect()
    }

    fn log(&self, topic: &str, partition: i32) {
        match self {
            Self::Append(AppendError::Io(cause)) => {
                error!(topic, partition, %cause, "append to the log");
            }
            refused => debug!(topic, partition, cause = %refused, "refused records"),
        }
    }
}

fn append(
    topic: Option<&Topic>,
    data: &PartitionProduceData,
    acks: i16,
) -> Result<Appended, Refused> {
    if !(-1..=1).contains(&acks) {
        return Err(Refused::Acks);
    }
    let topic = topic.ok_or(Refused::Unknown)?;
    let partition = topic.partition(data.index).ok_or(Refused::Unknown)?;
    let config = topic.config();
    if acks == ALL_REPLICAS && config.min_insync_replicas > 1 {
        return Err(Refused::Replicas);
    }
    let records = data.records.as_ref().ok_or(AppendError::NotOneBatch)?;
    Ok(partition.append(records, &config, now_ms())?)
}
