//! The answer to each kind of request, one file per kind.

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_configs;
mod api_versions;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_producers;
mod describe_transactions;
mod end_txn;
mod error;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod init_producer_id;
mod isolation;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod list_transactions;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod sync_group;
mod txn_offset_commit;

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};

use super::cluster::Cluster;
use super::wire::RequestHeader;

pub(super) use api_versions::unsupported_version;

/// Why a connection ends instead of being answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("decode request: {0}")]
    Decode(String),
    #[error("encode response: {0}")]
    Encode(String),
    /// There is no answer in which to tell it.
    #[error("a record that asked for no acknowledgement was not stored")]
    Unacknowledged,
    #[error("request kind {0:?} is announced but not served")]
    NotServed(ApiKey),
}

/// Answers one request whose body has been checked; `None` when the client wants no answer.
pub(super) async fn answer(
    cluster: &Arc<Cluster>,
    key: ApiKey,
    header: &RequestHeader,
    body: Bytes,
) -> Result<Option<BytesMut>, ApiError> {
    let version = header.api_version;
    let reply = Reply {
        correlation_id: header.correlation_id,
        version,
    };
    match key {
        ApiKey::Produce => match produce::handle(cluster, decode(body, version)?).await? {
            Some(response) => reply.with(&response),
            None => Ok(None),
        },
        ApiKey::Fetch => reply.with(&fetch::handle(cluster, decode(body, version)?).await),
        ApiKey::ListOffsets => {
            reply.with(&list_offsets::handle(cluster, version, decode(body, version)?).await)
        }
        ApiKey::Metadata => {
            reply.with(&metadata::handle(cluster, version, decode(body, version)?).await)
        }
        ApiKey::FindCoordinator => reply.with(&find_coordinator::handle(
            cluster,
            version,
            decode(body, version)?,
        )),
        ApiKey::JoinGroup => {
            reply.with(&join_group::handle(cluster, header, decode(body, version)?).await)
        }
        ApiKey::SyncGroup => {
            reply.with(&sync_group::handle(cluster, version, decode(body, version)?).await)
        }
        ApiKey::Heartbeat => reply.with(&heartbeat::handle(cluster, &decode(body, version)?)),
        ApiKey::LeaveGroup => reply.with(&leave_group::handle(
            cluster,
            version,
            decode(body, version)?,
        )),
        ApiKey::OffsetCommit => {
            reply.with(&offset_commit::handle(cluster, decode(body, version)?).await)
        }
        ApiKey::OffsetFetch => reply.with(&offset_fetch::handle(
            cluster,
            version,
            decode(body, version)?,
        )),
        ApiKey::ApiVersions => reply.with(&api_versions::handle()),
        ApiKey::OffsetForLeaderEpoch => {
            reply.with(&offset_for_leader_epoch::handle(cluster, decode(body, version)?).await)
        }
        other => administer(cluster, other, reply, body).await,
    }
}

/// Answers what administers topics and the broker.
async fn administer(
    cluster: &Arc<Cluster>,
    key: ApiKey,
    reply: Reply,
    body: Bytes,
) -> Result<Option<BytesMut>, ApiError> {
    let version = reply.version;
    match key {
        ApiKey::CreateTopics => {
            reply.with(&create_topics::handle(cluster, version, decode(body, version)?).await)
        }
        ApiKey::DeleteTopics => {
            reply.with(&delete_topics::handle(cluster, version, decode(body, version)?).await)
        }
        ApiKey::InitProducerId => {
            reply.with(&init_producer_id::handle(cluster, version, decode(body, version)?).await)
        }
        ApiKey::DescribeConfigs => {
            reply.with(&describe_configs::handle(cluster, &decode(body, version)?))
        }
        ApiKey::AlterConfigs => {
            reply.with(&alter_configs::replace(cluster, decode(body, version)?).await)
        }
        ApiKey::IncrementalAlterConfigs => {
            reply.with(&alter_configs::change(cluster, decode(body, version)?).await)
        }
        ApiKey::DeleteRecords => {
            reply.with(&delete_records::handle(cluster, decode(body, version)?).await)
        }
        ApiKey::CreatePartitions => {
            reply.with(&create_partitions::handle(cluster, decode(body, version)?).await)
        }
        ApiKey::DescribeCluster => {
            reply.with(&describe_cluster::handle(cluster, &decode(body, version)?))
        }
        other => answer_transactions(cluster, other, reply, body).await,
    }
}

async fn answer_transactions(
    cluster: &Arc<Cluster>,
    key: ApiKey,
    reply: Reply,
    body: Bytes,
) -> Result<Option<BytesMut>, ApiError> {
    let version = reply.version;
    match key {
        ApiKey::AddPartitionsToTxn => reply
            .with(&add_partitions_to_txn::handle(cluster, version, decode(body, version)?).await),
        ApiKey::AddOffsetsToTxn => {
            reply.with(&add_offsets_to_txn::handle(cluster, version, decode(body, version)?).await)
        }
        ApiKey::EndTxn => {
            reply.with(&end_txn::handle(cluster, version, decode(body, version)?).await)
        }
        ApiKey::TxnOffsetCommit => {
            reply.with(&txn_offset_commit::handle(cluster, version, decode(body, version)?).await)
        }
        ApiKey::DescribeTransactions => reply.with(&describe_transactions::handle(
            cluster,
            decode(body, version)?,
        )),
        ApiKey::ListTransactions => {
            reply.with(&list_transactions::handle(cluster, decode(body, version)?))
        }
        ApiKey::DescribeProducers => {
            reply.with(&describe_producers::handle(cluster, decode(body, version)?))
        }
        other => answer_about_groups(cluster, other, reply, body).await,
    }
}

/// What tools ask of consumer groups.
async fn answer_about_groups(
    cluster: &Arc<Cluster>,
    key: ApiKey,
    reply: Reply,
    body: Bytes,
) -> Result<Option<BytesMut>, ApiError> {
    let version = reply.version;
    match key {
        ApiKey::ListGroups => reply.with(&list_groups::handle(
            cluster,
            version,
            &decode(body, version)?,
        )),
        ApiKey::DescribeGroups => reply.with(&describe_groups::handle(
            cluster,
            version,
            decode(body, version)?,
        )),
        ApiKey::DeleteGroups => {
            reply.with(&delete_groups::handle(cluster, decode(body, version)?).await)
        }
        ApiKey::OffsetDelete => {
            reply.with(&offset_delete::handle(cluster, decode(body, version)?).await)
        }
        other => Err(ApiError::NotServed(other)),
    }
}

fn decode<R: Decodable>(mut body: Bytes, version: i16) -> Result<R, ApiError> {
    R::decode(&mut body, version).map_err(|cause| ApiError::Decode(cause.to_string()))
}

/// How to answer one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reply {
    pub(super) correlation_id: i32,
    pub(super) version: i16,
}

impl Reply {
    /// The response as it goes over the wire, length first.
    pub(super) fn with<R: Encodable + HeaderVersion>(
        self,
        response: &R,
    ) -> Result<Option<BytesMut>, ApiError> {
        let header = ResponseHeader::default().with_correlation_id(self.correlation_id);
        let header_version = R::header_version(self.version);
        let encode = || {
            let size =
                header.compute_size(header_version)? + response.compute_size(self.version)?;
            let mut bytes = BytesMut::with_capacity(4 + size);
            bytes.put_i32(i32::try_from(size)?);
            header.encode(&mut bytes, header_version)?;
            response.encode(&mut bytes, self.version)?;
            Ok(bytes)
        };
        let encoded: Result<BytesMut, Box<dyn std::error::Error + Send + Sync>> = encode();
        encoded
            .map(Some)
            .map_err(|cause| ApiError::Encode(cause.to_string()))
    }
}
