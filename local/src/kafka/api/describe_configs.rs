use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::error::topic_code;
use crate::kafka::broker_settings::{BrokerSetting, broker_settings};
use crate::kafka::cluster::{Cluster, NODE_ID};
use crate::kafka::topic_config::{Described, Origin};
use crate::kafka::topic_settings::Rule;
use crate::kafka::topics::{TopicError, check_name};

/// Kinds of what has settings (`ConfigResource.Type`).
pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;

/// Where a value comes from (`ConfigSource`).
const SET_FOR_TOPIC: i8 = 1;
const SET_FOR_BROKER: i8 = 4;
const DEFAULT: i8 = 5;

/// What type a value has (`ConfigType`).
const BOOLEAN: i8 = 1;
const STRING: i8 = 2;
const INT: i8 = 3;
const LONG: i8 = 5;
const DOUBLE: i8 = 6;
const LIST: i8 = 7;

pub(super) fn handle(
    cluster: &Cluster,
    request: &DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let results = request.resources.iter().map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
            .with_error_message(None);
        let lines = match resource.resource_type {
            TOPIC => topic(cluster, resource, request),
            BROKER => broker(cluster, resource, request),
            _ => Err(refusal(
                ResponseError::InvalidRequest,
                "only topics and brokers have settings",
            )),
        };
        match lines {
            Ok(lines) => result.with_configs(wanted(resource, lines)),
            Err((code, text)) => result
                .with_error_code(code.code())
                .with_error_message(Some(text)),
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

/// Where the value of a topic's setting comes from.
pub(super) fn source(origin: Origin) -> i8 {
    match origin {
        Origin::Topic => SET_FOR_TOPIC,
        Origin::Broker => SET_FOR_BROKER,
        Origin::Default => DEFAULT,
    }
}

/// A code and the text that goes with it.
pub(super) type Refusal = (ResponseError, StrBytes);

pub(super) fn refusal(code: ResponseError, text: &'static str) -> Refusal {
    (code, StrBytes::from_static_str(text))
}

/// Whether a resource's name is that of the one broker.
pub(super) fn check_broker(name: &str) -> Result<(), Refusal> {
    let text = match name.parse::<i32>() {
        Ok(id) if id == NODE_ID.0 => return Ok(()),
        Ok(id) => format!("there is no broker {id}, only {}", NODE_ID.0),
        Err(_) => format!("the name of a broker is its number, not {name:?}"),
    };
    Err((ResponseError::InvalidRequest, StrBytes::from_string(text)))
}

fn topic(
    cluster: &Cluster,
    resource: &DescribeConfigsResource,
    request: &DescribeConfigsRequest,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let refused = |cause: TopicError| {
        let text = StrBytes::from_string(cause.to_string());
        (topic_code(&cause), text)
    };
    let name = &*resource.resource_name;
    check_name(name).map_err(refused)?;
    let topic = cluster.topics.named(name);
    let topic = topic.ok_or_else(|| refused(TopicError::Unknown(name.to_owned())))?;
    let lines = topic.config().describe(&cluster.config).into_iter();
    Ok(lines.map(|line| topic_line(line, request)).collect())
}

fn topic_line(line: Described, request: &DescribeConfigsRequest) -> DescribeConfigsResourceResult {
    let setting = line.setting;
    let mut synonyms = Vec::new();
    if request.include_synonyms {
        for (origin, value) in &line.values {
            let name = match origin {
                Origin::Topic => setting.name,
                Origin::Broker | Origin::Default => setting.broker_name,
            };
            synonyms.push(synonym(name, value, source(*origin)));
        }
    }
    let (value, origin) = line.effective();
    DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(setting.name))
        .with_value(Some(StrBytes::from_string(value)))
        .with_config_source(source(origin))
        .with_config_type(config_type(setting.rule))
        .with_documentation(documentation(setting.documentation, request))
        .with_synonyms(synonyms)
}

/// The settings of the broker, none of which a client may change. What was changed of the defaults
/// of topics, by an empty name, is nothing.
fn broker(
    cluster: &Cluster,
    resource: &DescribeConfigsResource,
    request: &DescribeConfigsRequest,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    if resource.resource_name.is_empty() {
        return Ok(Vec::new());
    }
    check_broker(&resource.resource_name)?;
    let line = |setting: BrokerSetting| {
        let origin = if setting.value == setting.default {
            DEFAULT
        } else {
            SET_FOR_BROKER
        };
        let mut synonyms = Vec::new();
        if request.include_synonyms {
            if origin == SET_FOR_BROKER {
                synonyms.push(synonym(setting.name, &setting.value, SET_FOR_BROKER));
            }
            synonyms.push(synonym(setting.name, &setting.default, DEFAULT));
        }
        DescribeConfigsResourceResult::default()
            .with_name(StrBytes::from_static_str(setting.name))
            .with_value(Some(StrBytes::from_string(setting.value)))
            .with_read_only(true)
            .with_config_source(origin)
            .with_config_type(config_type(setting.rule))
            .with_documentation(documentation(setting.documentation, request))
            .with_synonyms(synonyms)
    };
    let settings = broker_settings(&cluster.config, cluster.address);
    Ok(settings.into_iter().map(line).collect())
}

fn synonym(name: &'static str, value: &str, source: i8) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym::default()
        .with_name(StrBytes::from_static_str(name))
        .with_value(Some(StrBytes::from_string(value.to_owned())))
        .with_source(source)
}

fn documentation(text: &'static str, request: &DescribeConfigsRequest) -> Option<StrBytes> {
    request
        .include_documentation
        .then(|| StrBytes::from_static_str(text))
}

fn config_type(rule: Rule) -> i8 {
    match rule {
        Rule::Boolean => BOOLEAN,
        Rule::Int { .. } => INT,
        Rule::Long { .. } => LONG,
        Rule::Ratio => DOUBLE,
        Rule::OneOf { .. } | Rule::AnyText => STRING,
        Rule::ListOf { .. } | Rule::AnyList => LIST,
    }
}

/// Only the settings that were asked for; null asks for all.
fn wanted(
    resource: &DescribeConfigsResource,
    lines: Vec<DescribeConfigsResourceResult>,
) -> Vec<DescribeConfigsResourceResult> {
    let Some(keys) = &resource.configuration_keys else {
        return lines;
    };
    lines
        .into_iter()
        .filter(|line| keys.contains(&line.name))
        .collect()
}
