use bytes::BytesMut;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse};

use super::{ApiError, Reply};
use crate::kafka::wire::Api;

pub(super) fn handle() -> ApiVersionsResponse {
    let versions = Api::all().iter().map(|api| {
        ApiVersion::default()
            .with_api_key(api.key as i16)
            .with_min_version(announced_min(api))
            .with_max_version(api.max)
    });
    ApiVersionsResponse::default().with_api_keys(versions.collect())
}

/// Of Produce the versions before 3 are announced and refused, as Kafka does it (KAFKA-18659): older
/// releases of librdkafka look for version 0 before they compress, and then produce with a later one.
fn announced_min(api: &Api) -> i16 {
    match api.key {
        ApiKey::Produce => 0,
        _ => api.min,
    }
}

/// The answer to an ApiVersions request in a version that is not served: the oldest form, which
/// every client reads, with what is served (KIP-511).
pub(in crate::kafka) fn unsupported_version(
    correlation_id: i32,
) -> Result<Option<BytesMut>, ApiError> {
    let response = handle().with_error_code(ResponseError::UnsupportedVersion.code());
    Reply {
        correlation_id,
        version: 0,
    }
    .with(&response)
}
