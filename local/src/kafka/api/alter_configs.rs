use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse as Replaced;
use kafka_protocol::messages::incremental_alter_configs_request::AlterableConfig;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as Changed;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::describe_configs::{BROKER, Refusal, TOPIC, check_broker, refusal};
use super::error::topic_code;
use crate::kafka::cluster::Cluster;
use crate::kafka::topic_config::{Operation, TopicConfig};
use crate::kafka::topics::{Mode, TopicError};

/// Operations of an incremental change (`AlterConfigOp`).
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// The older request, which gives all settings of a topic.
pub(super) async fn replace(
    cluster: &Arc<Cluster>,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let mode = mode(request.validate_only);
    let named = request.resources.iter();
    let times = times_named(named.map(|one| (one.resource_type, &one.resource_name)));
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let response = Replaced::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
            .with_error_message(None);
        let resource_type = resource.resource_type;
        let name = resource.resource_name;
        let given: Vec<_> = resource
            .configs
            .into_iter()
            .map(|config| (config.name, SET, config.value))
            .collect();
        let operations =
            check_named_once(&times, resource_type, &name).and_then(|()| parse_operations(given));
        let outcome = match operations {
            Ok(all) => alter(cluster, resource_type, name, Change::All(all), mode).await,
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
    let named = request.resources.iter();
    let times = times_named(named.map(|one| (one.resource_type, &one.resource_name)));
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let response = Changed::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
            .with_error_message(None);
        let resource_type = resource.resource_type;
        let name = resource.resource_name;
        let parts = |config: AlterableConfig| (config.name, config.config_operation, config.value);
        let given: Vec<_> = resource.configs.into_iter().map(parts).collect();
        let operations =
            check_named_once(&times, resource_type, &name).and_then(|()| parse_operations(given));
        let outcome = match operations {
            Ok(some) => alter(cluster, resource_type, name, Change::Some(some), mode).await,
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

fn mode(validate_only: bool) -> Mode {
    if validate_only {
        Mode::Check
    } else {
        Mode::Change
    }
}

type Times = HashMap<(i8, StrBytes), usize>;

fn times_named<'a>(named: impl Iterator<Item = (i8, &'a StrBytes)>) -> Times {
    let mut times = Times::new();
    for (resource_type, name) in named {
        *times.entry((resource_type, name.clone())).or_default() += 1;
    }
    times
}

fn check_named_once(times: &Times, resource_type: i8, name: &StrBytes) -> Result<(), Refusal> {
    match times.get(&(resource_type, name.clone())) {
        Some(1) => Ok(()),
        _ => Err(refusal(
            ResponseError::InvalidRequest,
            "each resource must be named once",
        )),
    }
}

/// Settings by name, each with what is done to it.
type Operations = BTreeMap<String, Operation>;

fn parse_operations(given: Vec<(StrBytes, i8, Option<StrBytes>)>) -> Result<Operations, Refusal> {
    let invalid = |text: String| (ResponseError::InvalidRequest, StrBytes::from_string(text));
    let names: BTreeSet<_> = given.iter().map(|(name, ..)| name).collect();
    if names.len() < given.len() {
        return Err(invalid("each setting must be named once".to_owned()));
    }
    let parse = |(name, operation, value): (StrBytes, i8, Option<StrBytes>)| {
        let operation = match (operation, value) {
            (DELETE, _) => Operation::Delete,
            (SET | APPEND | SUBTRACT, None) => {
                return Err(invalid(format!("setting {} has no value", &*name)));
            }
            (SET, Some(value)) => Operation::Set(value.to_string()),
            (APPEND, Some(value)) => Operation::Append(value.to_string()),
            (SUBTRACT, Some(value)) => Operation::Subtract(value.to_string()),
            (other, Some(_) | None) => {
                return Err(invalid(format!("there is no operation {other}")));
            }
        };
        Ok((name.to_string(), operation))
    };
    given.into_iter().map(parse).collect()
}

/// What a request says about the settings of one resource.
enum Change {
    /// All that are set.
    All(Operations),
    /// Those that change.
    Some(Operations),
}

async fn alter(
    cluster: &Arc<Cluster>,
    resource_type: i8,
    name: StrBytes,
    change: Change,
    mode: Mode,
) -> Result<(), Refusal> {
    match resource_type {
        TOPIC => alter_topic(cluster, name, change, mode).await,
        BROKER => {
            if !name.is_empty() {
                check_broker(&name)?;
            }
            match change {
                Change::All(operations) | Change::Some(operations) if operations.is_empty() => {
                    Ok(())
                }
                Change::All(_) | Change::Some(_) => Err(refusal(
                    ResponseError::InvalidRequest,
                    "the settings of this broker cannot be changed while it runs",
                )),
            }
        }
        _ => Err(refusal(
            ResponseError::InvalidRequest,
            "only topics and brokers have settings",
        )),
    }
}

async fn alter_topic(
    cluster: &Arc<Cluster>,
    name: StrBytes,
    change: Change,
    mode: Mode,
) -> Result<(), Refusal> {
    let work = Arc::clone(cluster);
    let alter = move || {
        let apply = |set: &mut BTreeMap<String, String>| {
            let operations = match change {
                Change::All(all) => {
                    set.clear();
                    all
                }
                Change::Some(some) => some,
            };
            TopicConfig::apply(set, operations, &work.config)
        };
        work.topics.configure(&name, apply, mode)
    };
    let altered = cluster.disk.run(alter).await;
    altered
        .map_err(|cause: TopicError| (topic_code(&cause), StrBytes::from_string(cause.to_string())))
}
