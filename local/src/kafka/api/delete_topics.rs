use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use tracing::error;

use super::error::{message, topic_code};
use crate::kafka::cluster::Cluster;
use crate::kafka::topics::TopicError;

pub(super) async fn handle(
    cluster: &Arc<Cluster>,
    version: i16,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let by_name = |name| DeleteTopicState::default().with_name(Some(name));
    let wanted = request
        .topics
        .into_iter()
        .chain(request.topic_names.into_iter().map(by_name));
    let mut results = Vec::new();
    for topic in wanted {
        results.push(delete(cluster, version, topic).await);
    }
    DeleteTopicsResponse::default().with_responses(results)
}

async fn delete(
    cluster: &Arc<Cluster>,
    version: i16,
    wanted: DeleteTopicState,
) -> DeletableTopicResult {
    let found = match &wanted.name {
        Some(name) => cluster.topics.named(name),
        None => cluster.topics.with_id(wanted.topic_id),
    };
    let result = DeletableTopicResult::default();
    let Some(topic) = found else {
        let code = match wanted.name {
            Some(_) => ResponseError::UnknownTopicOrPartition,
            None => ResponseError::UnknownTopicId,
        };
        return result
            .with_name(wanted.name)
            .with_topic_id(wanted.topic_id)
            .with_error_code(code.code());
    };
    let name = TopicName(StrBytes::from_string(topic.name.clone()));
    let result = result.with_name(Some(name));
    let result = if version >= 6 {
        result.with_topic_id(topic.id)
    } else {
        result
    };
    let topics = Arc::clone(&cluster.topics);
    let offsets = Arc::clone(&cluster.offsets);
    let delete = move || {
        topics.delete(&topic.name)?;
        offsets.forget_topic(&topic.name)?;
        Ok(())
    };
    match cluster.disk.run(delete).await {
        Ok(()) => result,
        Err(cause) => {
            if let TopicError::Io(cause) = &cause {
                error!(%cause, "delete topic");
            }
            let result = result.with_error_code(topic_code(&cause).code());
            if version >= 5 {
                result.with_error_message(message(&cause))
            } else {
                result
            }
        }
    }
}
