use std::collections::BTreeMap;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::error::NO_ERROR;
use crate::kafka::cluster::Cluster;
use crate::kafka::offsets::Offset;

/// What is answered for a partition without a commit.
const NO_OFFSET: i64 = -1;
const NO_EPOCH: i32 = -1;

/// What is answered for a partition: a code, and the offset if the code is none.
type Found = (i16, Offset);

/// Whether a reader takes an offset that an open transaction is about to replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Any,
    Stable,
}

pub(super) fn handle(
    cluster: &Cluster,
    version: i16,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let stability = if request.require_stable {
        Wanted::Stable
    } else {
        Wanted::Any
    };
    if version >= 8 {
        let groups = request
            .groups
            .into_iter()
            .map(|group| one_group(cluster, group, stability));
        return OffsetFetchResponse::default().with_groups(groups.collect());
    }
    let wanted = request.topics.map(|topics| {
        topics
            .into_iter()
            .map(|topic| (topic.name, topic.partition_indexes))
            .collect()
    });
    let topics = look_up(cluster, &request.group_id, wanted, stability)
        .into_iter()
        .map(|(name, found)| {
            let partitions = found.into_iter().map(|(index, (code, offset))| {
                let partition = OffsetFetchResponsePartition::default()
                    .with_partition_index(index)
                    .with_error_code(code)
                    .with_committed_offset(offset.offset)
                    .with_metadata(Some(StrBytes::from_string(offset.metadata)));
                if version >= 5 {
                    partition.with_committed_leader_epoch(offset.leader_epoch)
                } else {
                    partition
                }
            });
            OffsetFetchResponseTopic::default()
                .with_name(name)
                .with_partitions(partitions.collect())
        });
    OffsetFetchResponse::default().with_topics(topics.collect())
}

fn one_group(
    cluster: &Cluster,
    group: OffsetFetchRequestGroup,
    stability: Wanted,
) -> OffsetFetchResponseGroup {
    let wanted = group.topics.map(|topics| {
        topics
            .into_iter()
            .map(|topic| (topic.name, topic.partition_indexes))
            .collect()
    });
    let topics = look_up(cluster, &group.group_id, wanted, stability)
        .into_iter()
        .map(|(name, found)| {
            let partitions = found.into_iter().map(|(index, (code, offset))| {
                OffsetFetchResponsePartitions::default()
                    .with_partition_index(index)
                    .with_error_code(code)
                    .with_committed_offset(offset.offset)
                    .with_committed_leader_epoch(offset.leader_epoch)
                    .with_metadata(Some(StrBytes::from_string(offset.metadata)))
            });
            OffsetFetchResponseTopics::default()
                .with_name(name)
                .with_partitions(partitions.collect())
        });
    OffsetFetchResponseGroup::default()
        .with_topics(topics.collect())
        .with_group_id(group.group_id)
}

/// The offsets of the wanted partitions, or of all that the group has committed.
fn look_up(
    cluster: &Cluster,
    group_id: &str,
    wanted: Option<Vec<(TopicName, Vec<i32>)>>,
    stability: Wanted,
) -> Vec<(TopicName, Vec<(i32, Found)>)> {
    let checked = |topic: &str, index: i32, offset: Option<Offset>| {
        if stability == Wanted::Stable && cluster.offsets.is_pending(group_id, topic, index) {
            return (ResponseError::UnstableOffsetCommit.code(), none());
        }
        (NO_ERROR, offset.unwrap_or_else(none))
    };
    let Some(wanted) = wanted else {
        let mut by_topic = BTreeMap::<String, Vec<_>>::new();
        for (topic, partition, offset) in cluster.offsets.all(group_id) {
            let found = checked(&topic, partition, Some(offset));
            by_topic.entry(topic).or_default().push((partition, found));
        }
        let named = |(name, found)| (TopicName(StrBytes::from_string(name)), found);
        return by_topic.into_iter().map(named).collect();
    };
    let one_topic = |(name, indexes): (TopicName, Vec<i32>)| {
        let found = indexes.into_iter().map(|index| {
            let committed = cluster.offsets.committed(group_id, &name, index);
            (index, checked(&name, index, committed))
        });
        let found = found.collect();
        (name, found)
    };
    wanted.into_iter().map(one_topic).collect()
}

fn none() -> Offset {
    Offset {
        offset: NO_OFFSET,
        leader_epoch: NO_EPOCH,
        metadata: String::new(),
        at: 0,
    }
}
