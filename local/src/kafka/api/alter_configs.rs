use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse as Altered;
use kafka_protocol::messages::incremental_alter_configs_request::AlterableConfig;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::describe_configs::TOPIC;
use super::error::topic_code;
use crate::kafka::cluster::Cluster;
use crate::kafka::topics::{Mode, TopicError};

/// Operations of an incremental change (`AlterConfigOp`).
const SET: i8 = 0;
const DELETE: i8 = 1;

/// The older request, which gives all settings of a topic.
pub(super) async fn replace(
    cluster: &Arc<Cluster>,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let mode = mode(request.validate_only);
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let response = Altered::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
            .with_error_message(None);
        let given = resource.configs.into_iter().map(|config| {
            let value = config.value.ok_or_else(|| no_value(&config.name))?;
            Ok((config.name.to_string(), value.to_string()))
        });
        let outcome = match given.collect::<Result<BTreeMap<_, _>, Refusal>>() {
            Ok(all) => {
                let replace = move |set: &mut BTreeMap<_, _>| *set = all;
                alter(
                    cluster,
                    resource.resource_type,
                    resource.resource_name,
                    replace,
                    mode,
                )
                .await
            }
            Err(refusal) => Err(refusal),
        };
        responses.push(match outcome {
            Ok(()) => response,
            Err((code, text)) => response
                .with_error_code(code.code())
                .with_error_message(Some(text)),
        });
    }
    AlterConfigsResponse::default().with_responses(responses)
}

/// The newer request, which gives the changes (KIP-339).
pub(super) async fn change(
    cluster: &Arc<Cluster>,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mode = mode(request.validate_only);
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let response = AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
            .with_error_message(None);
        let changes = resource.configs.into_iter().map(parse_change);
        let outcome = match changes.collect::<Result<Vec<_>, Refusal>>() {
            Ok(changes) => {
                let apply = move |set: &mut BTreeMap<_, _>| {
                    for (name, value) in changes {
                        match value {
                            Some(value) => set.insert(name, value),
                            None => set.remove(&name),
                        };
                    }
                };
                alter(
                    cluster,
                    resource.resource_type,
                    resource.resource_name,
                    apply,
                    mode,
                )
                .await
            }
            Err(refusal) => Err(refusal),
        };
        responses.push(match outcome {
            Ok(()) => response,
            Err((code, text)) => response
                .with_error_code(code.code())
                .with_error_message(Some(text)),
        });
    }
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

type Refusal = (ResponseError, StrBytes);

fn mode(validate_only: bool) -> Mode {
    if validate_only {
        Mode::Check
    } else {
        Mode::Change
    }
}

/// A setting's name and its new value, `None` for the default.
fn parse_change(config: AlterableConfig) -> Result<(String, Option<String>), Refusal> {
    match (config.config_operation, config.value) {
        (SET, Some(value)) => Ok((config.name.to_string(), Some(value.to_string()))),
        (SET, None) => Err(no_value(&config.name)),
        (DELETE, _) => Ok((config.name.to_string(), None)),
        _ => Err((
            ResponseError::InvalidConfig,
            StrBytes::from_static_str("a setting can be set or deleted, not appended to"),
        )),
    }
}

fn no_value(name: &str) -> Refusal {
    let text = format!("topic setting {name} has no value");
    (ResponseError::InvalidConfig, StrBytes::from_string(text))
}

async fn alter(
    cluster: &Arc<Cluster>,
    resource_type: i8,
    name: StrBytes,
    change: impl FnOnce(&mut BTreeMap<String, String>) + Send + 'static,
    mode: Mode,
) -> Result<(), Refusal> {
    if resource_type != TOPIC {
        let text = "only the settings of topics can be changed";
        return Err((
            ResponseError::InvalidRequest,
            StrBytes::from_static_str(text),
        ));
    }
    let topics = Arc::clone(&cluster.topics);
    let altered = cluster
        .disk
        .run(move || topics.configure(&name, change, mode))
        .await;
    altered
        .map_err(|cause: TopicError| (topic_code(&cause), StrBytes::from_string(cause.to_string())))
}
