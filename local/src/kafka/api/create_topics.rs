use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use kafka_protocol::protocol::StrBytes;
use tracing::error;
use uuid::Uuid;

use super::describe_configs::source;
use super::error::topic_code;
use crate::kafka::cluster::{Cluster, NODE_ID};
use crate::kafka::topic_config::TopicConfig;
use crate::kafka::topics::TopicError;

/// "As the broker has it", for the numbers of a new topic.
const DEFAULT: i32 = -1;

pub(super) async fn handle(
    cluster: &Arc<Cluster>,
    version: i16,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let mut times_named = HashMap::<String, usize>::new();
    for topic in &request.topics {
        *times_named.entry(topic.name.to_string()).or_default() += 1;
    }
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let result = CreatableTopicResult::default().with_name(topic.name.clone());
        let outcome = match times_named.get(topic.name.as_str()) {
            Some(1) => create(cluster, topic, request.validate_only).await,
            _ => Err(refusal(
                ResponseError::InvalidRequest,
                "the request names the topic twice",
            )),
        };
        results.push(match outcome {
            Ok(created) => describe(cluster, version, result, &created),
            Err((code, text)) => result
                .with_error_code(code.code())
                .with_error_message(Some(StrBytes::from_string(text))),
        });
    }
    CreateTopicsResponse::default().with_topics(results)
}

/// A code and the text that goes with it.
type Refusal = (ResponseError, String);

struct Created {
    id: Uuid,
    partitions: i32,
    config: TopicConfig,
}

async fn create(
    cluster: &Arc<Cluster>,
    topic: CreatableTopic,
    validate_only: bool,
) -> Result<Created, Refusal> {
    let partitions = partition_count(&topic)?;
    let mut set = BTreeMap::new();
    for config in &topic.configs {
        let Some(value) = &config.value else {
            let text = format!("topic setting {} has no value", &*config.name);
            return Err((ResponseError::InvalidConfig, text));
        };
        set.insert(config.name.to_string(), value.to_string());
    }
    let topics = Arc::clone(&cluster.topics);
    let create = move || {
        let (partitions, config) = topics.check_new(&topic.name, partitions, set.clone())?;
        let id = match validate_only {
            true => Uuid::nil(),
            false => topics.create(&topic.name, Some(partitions), set)?.id,
        };
        Ok(Created {
            id,
            partitions,
            config,
        })
    };
    cluster.disk.run(create).await.map_err(|cause: TopicError| {
        if let TopicError::Io(cause) = &cause {
            error!(%cause, "create topic");
        }
        (topic_code(&cause), cause.to_string())
    })
}

/// How many partitions a request wants, after checking where it wants them.
fn partition_count(topic: &CreatableTopic) -> Result<Option<i32>, Refusal> {
    if topic.assignments.is_empty() {
        if !matches!(topic.replication_factor, -1 | 1) {
            let text = "there is one broker, so the replication factor can only be 1";
            return Err(refusal(ResponseError::InvalidReplicationFactor, text));
        }
        return Ok((topic.num_partitions != DEFAULT).then_some(topic.num_partitions));
    }
    if topic.num_partitions != DEFAULT || topic.replication_factor != -1 {
        let text = "a request that assigns replicas must not also give their number";
        return Err(refusal(ResponseError::InvalidRequest, text));
    }
    let mut indexes: Vec<i32> = topic
        .assignments
        .iter()
        .map(|assignment| assignment.partition_index)
        .collect();
    indexes.sort_unstable();
    let count = i32::try_from(indexes.len()).unwrap_or(i32::MAX);
    let here = |assigned: &[_]| assigned == [NODE_ID];
    if !indexes.into_iter().eq(0..count)
        || !topic
            .assignments
            .iter()
            .all(|assignment| here(&assignment.broker_ids))
    {
        let text = "each partition, from 0 on, must be assigned to the one broker";
        return Err(refusal(ResponseError::InvalidReplicaAssignment, text));
    }
    Ok(Some(count))
}

fn describe(
    cluster: &Cluster,
    version: i16,
    result: CreatableTopicResult,
    created: &Created,
) -> CreatableTopicResult {
    // Version 7 has the id, version 5 the rest.
    let result = if version >= 7 {
        result.with_topic_id(created.id)
    } else {
        result
    };
    if version < 5 {
        return result;
    }
    let configs = created
        .config
        .describe(&cluster.config)
        .into_iter()
        .map(|line| {
            let (value, origin) = line.effective();
            CreatableTopicConfigs::default()
                .with_name(StrBytes::from_static_str(line.setting.name))
                .with_config_source(source(origin))
                .with_value(Some(StrBytes::from_string(value)))
        });
    result
        .with_num_partitions(created.partitions)
        .with_replication_factor(1)
        .with_configs(Some(configs.collect()))
}

fn refusal(code: ResponseError, text: &str) -> Refusal {
    (code, text.to_owned())
}
