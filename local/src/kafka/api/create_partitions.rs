use std::collections::HashMap;
use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use kafka_protocol::protocol::StrBytes;
use tracing::error;

use super::error::topic_code;
use crate::kafka::cluster::{Cluster, NODE_ID};
use crate::kafka::topics::{Mode, TopicError, Topics};

pub(super) async fn handle(
    cluster: &Arc<Cluster>,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mode = if request.validate_only {
        Mode::Check
    } else {
        Mode::Change
    };
    let mut times_named = HashMap::<String, usize>::new();
    for topic in &request.topics {
        *times_named.entry(topic.name.to_string()).or_default() += 1;
    }
    let topics = Arc::clone(&cluster.topics);
    let grow = move || {
        let results = request.topics.into_iter().map(|wanted| {
            let outcome = match times_named.get(wanted.name.as_str()) {
                Some(1) => grow(&topics, &wanted, mode),
                _ => Err((
                    ResponseError::InvalidRequest,
                    "the request names the topic twice".to_owned(),
                )),
            };
            let result = CreatePartitionsTopicResult::default().with_name(wanted.name);
            match outcome {
                Ok(()) => result,
                Err((code, text)) => result
                    .with_error_code(code.code())
                    .with_error_message(Some(StrBytes::from_string(text))),
            }
        });
        results.collect()
    };
    CreatePartitionsResponse::default().with_results(cluster.disk.run(grow).await)
}

/// A code and the text that goes with it.
type Refusal = (ResponseError, String);

fn grow(topics: &Topics, wanted: &CreatePartitionsTopic, mode: Mode) -> Result<(), Refusal> {
    let refused = |cause: TopicError| {
        if let TopicError::Io(cause) = &cause {
            error!(%cause, "add partitions");
        }
        (topic_code(&cause), cause.to_string())
    };
    topics
        .grow(&wanted.name, wanted.count, Mode::Check)
        .map_err(refused)?;
    check_assignments(topics, wanted)?;
    match mode {
        Mode::Check => Ok(()),
        Mode::Change => topics
            .grow(&wanted.name, wanted.count, mode)
            .map_err(refused),
    }
}

/// Checks where a request wants the partitions that are added, if it says so.
fn check_assignments(topics: &Topics, wanted: &CreatePartitionsTopic) -> Result<(), Refusal> {
    let Some(assignments) = &wanted.assignments else {
        return Ok(());
    };
    let current = topics
        .named(&wanted.name)
        .map_or(0, |topic| topic.partition_count());
    let wanted_count = usize::try_from(wanted.count).unwrap_or(0);
    let added = wanted_count.saturating_sub(current);
    let text = if assignments.len() != added {
        format!(
            "{added} partitions are added, but {} are assigned",
            assignments.len()
        )
    } else if assignments
        .iter()
        .any(|assignment| assignment.broker_ids != [NODE_ID])
    {
        "each partition that is added must be assigned to the one broker".to_owned()
    } else {
        return Ok(());
    };
    Err((ResponseError::InvalidReplicaAssignment, text))
}
