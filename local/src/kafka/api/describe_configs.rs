use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use crate::kafka::cluster::{Cluster, NODE_ID};
use crate::kafka::topic_config::{Described, Rule};

pub(super) const TOPIC: i8 = 2;
const BROKER: i8 = 4;

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
            .with_resource_name(resource.resource_name.clone());
        let lines = match resource.resource_type {
            TOPIC => topic(cluster, resource, request.include_synonyms),
            BROKER => broker(cluster, resource),
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
pub(super) fn source(line: &Described) -> i8 {
    if line.is_default {
        DEFAULT
    } else {
        SET_FOR_TOPIC
    }
}

type Refusal = (ResponseError, StrBytes);

fn topic(
    cluster: &Cluster,
    resource: &DescribeConfigsResource,
    with_synonyms: bool,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let topic = cluster
        .topics
        .named(&resource.resource_name)
        .ok_or_else(|| {
            refusal(
                ResponseError::UnknownTopicOrPartition,
                "the topic does not exist",
            )
        })?;
    let lines = topic.config().describe(&cluster.config).into_iter();
    Ok(lines.map(|line| topic_line(line, with_synonyms)).collect())
}

fn topic_line(line: Described, with_synonyms: bool) -> DescribeConfigsResourceResult {
    let name = StrBytes::from_static_str(line.setting.name);
    let result = DescribeConfigsResourceResult::default()
        .with_name(name.clone())
        .with_config_source(source(&line))
        .with_config_type(config_type(line.setting.rule));
    let synonym = |value: &str, source| {
        DescribeConfigsSynonym::default()
            .with_name(name.clone())
            .with_value(Some(StrBytes::from_string(value.to_owned())))
            .with_source(source)
    };
    let mut synonyms = Vec::new();
    if with_synonyms {
        if !line.is_default {
            synonyms.push(synonym(&line.value, SET_FOR_TOPIC));
        }
        synonyms.push(synonym(&line.default, DEFAULT));
    }
    result
        .with_value(Some(StrBytes::from_string(line.value)))
        .with_synonyms(synonyms)
}

fn config_type(rule: Rule) -> i8 {
    match rule {
        Rule::Boolean => BOOLEAN,
        Rule::Int { .. } => INT,
        Rule::Long { .. } => LONG,
        Rule::Ratio => DOUBLE,
        Rule::OneOf { .. } => STRING,
        Rule::ListOf { .. } | Rule::Any => LIST,
    }
}

/// The broker's own settings, none of which a client may change.
fn broker(
    cluster: &Cluster,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    if *resource.resource_name != *NODE_ID.0.to_string() {
        return Err(refusal(
            ResponseError::InvalidRequest,
            "there is no broker with this id",
        ));
    }
    let config = &cluster.config;
    let line = |name: &'static str, value: String, config_type: i8| {
        DescribeConfigsResourceResult::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(Some(StrBytes::from_string(value)))
            .with_read_only(true)
            .with_config_source(SET_FOR_BROKER)
            .with_config_type(config_type)
    };
    Ok(vec![
        line(
            "auto.create.topics.enable",
            config.auto_create_topics.to_string(),
            BOOLEAN,
        ),
        line("default.replication.factor", "1".to_owned(), INT),
        line("log.dirs", config.data_dir.display().to_string(), STRING),
        line(
            "log.retention.ms",
            config.default_retention.as_millis().to_string(),
            LONG,
        ),
        line(
            "log.segment.bytes",
            config.default_segment_bytes.to_string(),
            INT,
        ),
        line(
            "message.max.bytes",
            config.default_max_message_bytes.to_string(),
            INT,
        ),
        line("num.partitions", config.default_partitions.to_string(), INT),
        line(
            "socket.request.max.bytes",
            config.request_bytes_max.to_string(),
            INT,
        ),
    ])
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

fn refusal(code: ResponseError, text: &'static str) -> Refusal {
    (code, StrBytes::from_static_str(text))
}
