use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::error::topic_code;
use crate::kafka::cluster::{Cluster, NODE_ID};
use crate::kafka::topics::{Topic, TopicError};

/// Everything that Kafka lets anyone do with a topic or a cluster where there are no ACLs, as bits
/// numbered by `AclOperation`.
const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
pub(super) const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

pub(super) async fn handle(
    cluster: &Arc<Cluster>,
    version: i16,
    request: MetadataRequest,
) -> MetadataResponse {
    let with_operations = request.include_topic_authorized_operations;
    // Before version 4 the flag does not exist, and creation was the rule.
    let may_create =
        (version < 4 || request.allow_auto_topic_creation) && cluster.config.auto_create_topics;
    let topics = match request.topics {
        // Version 0 asks for all topics with an empty list, later ones with null.
        Some(named) if version > 0 || !named.is_empty() => {
            let mut answers = Vec::with_capacity(named.len());
            for wanted in named {
                answers.push(one_topic(cluster, wanted, may_create).await);
            }
            answers
        }
        _ => cluster
            .topics
            .all()
            .iter()
            .map(|topic| describe(topic))
            .collect(),
    };
    let operations = |topic: MetadataResponseTopic| {
        if with_operations && topic.error_code == 0 {
            topic.with_topic_authorized_operations(TOPIC_OPERATIONS)
        } else {
            topic
        }
    };
    let broker = MetadataResponseBroker::default()
        .with_node_id(NODE_ID)
        .with_host(StrBytes::from_string(cluster.address.ip().to_string()))
        .with_port(i32::from(cluster.address.port()));
    let response = MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(StrBytes::from_string(cluster.id.clone())))
        .with_controller_id(NODE_ID)
        .with_topics(topics.into_iter().map(operations).collect());
    if request.include_cluster_authorized_operations {
        response.with_cluster_authorized_operations(CLUSTER_OPERATIONS)
    } else {
        response
    }
}

async fn one_topic(
    cluster: &Arc<Cluster>,
    wanted: MetadataRequestTopic,
    may_create: bool,
) -> MetadataResponseTopic {
    let Some(name) = wanted.name else {
        let id = wanted.topic_id;
        return cluster.topics.with_id(id).map_or_else(
            || {
                MetadataResponseTopic::default()
                    .with_name(None)
                    .with_topic_id(id)
                    .with_error_code(ResponseError::UnknownTopicId.code())
            },
            |topic| describe(&topic),
        );
    };
    if let Some(topic) = cluster.topics.named(&name) {
        return describe(&topic);
    }
    let created = if may_create {
        create(cluster, name.to_string()).await
    } else {
        Err(TopicError::Unknown(name.to_string()))
    };
    match created {
        Ok(topic) => describe(&topic),
        Err(cause) => MetadataResponseTopic::default()
            .with_name(Some(name))
            .with_error_code(topic_code(&cause).code()),
    }
}

async fn create(cluster: &Arc<Cluster>, name: String) -> Result<Arc<Topic>, TopicError> {
    let topics = Arc::clone(&cluster.topics);
    let create = move || match topics.create(&name, None, BTreeMap::new()) {
        // Another client was faster.
        Err(TopicError::Exists(name)) => topics.named(&name).ok_or(TopicError::Unknown(name)),
        created => created,
    };
    cluster.disk.run(create).await
}

fn describe(topic: &Topic) -> MetadataResponseTopic {
    let partitions = (0..).zip(topic.partitions()).map(|(index, partition)| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(NODE_ID)
            .with_leader_epoch(partition.leader_epoch())
            .with_replica_nodes(vec![NODE_ID])
            .with_isr_nodes(vec![NODE_ID])
    });
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(topic.name.clone()))))
        .with_topic_id(topic.id)
        .with_partitions(partitions.collect())
}
