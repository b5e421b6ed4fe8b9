use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId};

use crate::kafka::cluster::Cluster;
use crate::kafka::log::ActiveProducer;

/// The only epoch that the coordinator of transactions has here.
const COORDINATOR_EPOCH: i32 = 0;
/// Sequence and offset of a producer that has none.
const NONE_YET: i32 = -1;
const NO_OFFSET: i64 = -1;

pub(super) fn handle(
    cluster: &Arc<Cluster>,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|asked| {
        let topic = cluster.topics.named(&asked.name);
        let partitions = asked.partition_indexes.into_iter().map(|index| {
            let response = PartitionResponse::default().with_partition_index(index);
            let found = topic.as_ref().and_then(|topic| topic.partition(index));
            match found {
                None => response.with_error_code(ResponseError::UnknownTopicOrPartition.code()),
                Some(partition) => {
                    let producers = partition.producers().into_iter().map(described);
                    response.with_active_producers(producers.collect())
                }
            }
        });
        TopicResponse::default()
            .with_partitions(partitions.collect())
            .with_name(asked.name)
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

fn described(producer: ActiveProducer) -> ProducerState {
    ProducerState::default()
        .with_producer_id(ProducerId(producer.producer_id))
        .with_producer_epoch(i32::from(producer.epoch))
        .with_last_sequence(producer.last_sequence.unwrap_or(NONE_YET))
        .with_last_timestamp(producer.last_append_ms)
        .with_coordinator_epoch(COORDINATOR_EPOCH)
        .with_current_txn_start_offset(producer.transaction_from.unwrap_or(NO_OFFSET))
}
