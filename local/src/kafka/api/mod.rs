//! The answer to each kind of request, one file per kind.

mod api_versions;
mod create_topics;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod error;
mod fetch;
mod init_producer_id;
mod list_offsets;
mod metadata;
mod produce;

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
            reply.with(&list_offsets::handle(cluster, decode(body, version)?).await)
        }
        ApiKey::Metadata => {
            reply.with(&metadata::handle(cluster, version, decode(body, version)?).await)
        }
        ApiKey::ApiVersions => reply.with(&api_versions::handle()),
        ApiKey::CreateTopics => {
            reply.with(&create_topics::handle(cluster, version, decode(body, version)?).await)
        }
        ApiKey::DeleteTopics => {
            reply.with(&delete_topics::handle(cluster, version, decode(body, version)?).await)
        }
        ApiKey::InitProducerId => {
            reply.with(&init_producer_id::handle(cluster, decode(body, version)?).await)
        }
        ApiKey::DescribeConfigs => {
            reply.with(&describe_configs::handle(cluster, &decode(body, version)?))
        }
        ApiKey::DescribeCluster => {
            reply.with(&describe_cluster::handle(cluster, &decode(body, version)?))
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
