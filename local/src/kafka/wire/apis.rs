//! Which requests are served, in which versions, and the fields of each.
//!
//! Field lists follow Kafka's message definitions (clients/src/main/resources/common/message).
//! The highest versions are those that still name topics rather than topic ids, where a choice
//! exists: every client speaks them.

use kafka_protocol::messages::ApiKey;

use super::shape::{Field, Kind};

/// One kind of request that the broker answers.
#[derive(Debug)]
pub(in crate::kafka) struct Api {
    pub(in crate::kafka) key: ApiKey,
    pub(in crate::kafka) min: i16,
    pub(in crate::kafka) max: i16,
    pub(in crate::kafka) body: &'static [Field],
}

impl Api {
    /// All of them, in the order of their keys.
    pub(in crate::kafka) fn all() -> &'static [Self] {
        APIS
    }

    pub(in crate::kafka) fn serves(&self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }
}

/// The request kind with this key, if it is served.
pub(in crate::kafka) fn served(key: i16) -> Option<&'static Api> {
    APIS.iter().find(|api| i16::from(ApiCode(api.key)) == key)
}

struct ApiCode(ApiKey);

impl From<ApiCode> for i16 {
    // The crate offers the number of an API key by a cast of its enum only.
    #[allow(clippy::as_conversions)]
    fn from(code: ApiCode) -> Self {
        code.0 as Self
    }
}

const fn always(kind: Kind) -> Field {
    between(0, i16::MAX, kind)
}

const fn since(version: i16, kind: Kind) -> Field {
    between(version, i16::MAX, kind)
}

const fn between(since: i16, until: i16, kind: Kind) -> Field {
    Field { since, until, kind }
}

const INT8: Kind = Kind::Fixed(1);
const INT16: Kind = Kind::Fixed(2);
const INT32: Kind = Kind::Fixed(4);
const INT64: Kind = Kind::Fixed(8);
const UUID: Kind = Kind::Fixed(16);
const BOOLEAN: Kind = Kind::Fixed(1);

const APIS: &[Api] = &[
    Api {
        key: ApiKey::Produce,
        min: 3,
        max: 11,
        body: PRODUCE,
    },
    Api {
        key: ApiKey::Fetch,
        min: 4,
        max: 12,
        body: FETCH,
    },
    Api {
        key: ApiKey::ListOffsets,
        min: 1,
        max: 7,
        body: LIST_OFFSETS,
    },
    Api {
        key: ApiKey::Metadata,
        min: 0,
        max: 12,
        body: METADATA,
    },
    Api {
        key: ApiKey::ApiVersions,
        min: 0,
        max: 4,
        body: API_VERSIONS,
    },
    Api {
        key: ApiKey::CreateTopics,
        min: 2,
        max: 7,
        body: CREATE_TOPICS,
    },
    Api {
        key: ApiKey::DeleteTopics,
        min: 1,
        max: 6,
        body: DELETE_TOPICS,
    },
    Api {
        key: ApiKey::InitProducerId,
        min: 0,
        max: 5,
        body: INIT_PRODUCER_ID,
    },
    Api {
        key: ApiKey::DescribeConfigs,
        min: 1,
        max: 4,
        body: DESCRIBE_CONFIGS,
    },
    Api {
        key: ApiKey::DescribeCluster,
        min: 0,
        max: 1,
        body: DESCRIBE_CLUSTER,
    },
];

const PRODUCE: &[Field] = &[
    always(Kind::Text), // transactional_id
    always(INT16),      // acks
    always(INT32),      // timeout_ms
    always(Kind::Array(&[
        always(Kind::Text),
        always(Kind::Array(&[always(INT32), always(Kind::Blob)])),
    ])),
];

const FETCH: &[Field] = &[
    always(INT32), // replica_id
    always(INT32), // max_wait_ms
    always(INT32), // min_bytes
    always(INT32), // max_bytes
    always(INT8),  // isolation_level
    since(7, INT32),
    since(7, INT32), // session id and epoch
    always(Kind::Array(&[
        always(Kind::Text),
        always(Kind::Array(&[
            always(INT32),    // partition
            since(9, INT32),  // current_leader_epoch
            always(INT64),    // fetch_offset
            since(12, INT32), // last_fetched_epoch
            since(5, INT64),  // log_start_offset
            always(INT32),    // partition_max_bytes
        ])),
    ])),
    since(
        7,
        Kind::Array(&[always(Kind::Text), always(Kind::ArrayOfFixed(4))]),
    ),
    since(11, Kind::Text), // rack_id
];

const LIST_OFFSETS: &[Field] = &[
    always(INT32), // replica_id
    since(2, INT8),
    always(Kind::Array(&[
        always(Kind::Text),
        always(Kind::Array(&[
            always(INT32),   // partition
            since(4, INT32), // current_leader_epoch
            always(INT64),   // timestamp
        ])),
    ])),
];

const METADATA: &[Field] = &[
    always(Kind::Array(&[since(10, UUID), always(Kind::Text)])),
    since(4, BOOLEAN),
    between(8, 10, BOOLEAN),
    since(8, BOOLEAN),
];

const API_VERSIONS: &[Field] = &[since(3, Kind::Text), since(3, Kind::Text)];

const CREATE_TOPICS: &[Field] = &[
    always(Kind::Array(&[
        always(Kind::Text),
        always(INT32), // num_partitions
        always(INT16), // replication_factor
        always(Kind::Array(&[always(INT32), always(Kind::ArrayOfFixed(4))])),
        always(Kind::Array(&[always(Kind::Text), always(Kind::Text)])),
    ])),
    always(INT32), // timeout_ms
    always(BOOLEAN),
];

const DELETE_TOPICS: &[Field] = &[
    since(6, Kind::Array(&[always(Kind::Text), always(UUID)])),
    between(0, 5, Kind::ArrayOfText),
    always(INT32), // timeout_ms
];

const INIT_PRODUCER_ID: &[Field] = &[
    always(Kind::Text), // transactional_id
    always(INT32),      // transaction_timeout_ms
    since(3, INT64),
    since(3, INT16), // producer id and epoch
];

const DESCRIBE_CONFIGS: &[Field] = &[
    always(Kind::Array(&[
        always(INT8),
        always(Kind::Text),
        always(Kind::ArrayOfText),
    ])),
    always(BOOLEAN),
    since(3, BOOLEAN),
];

const DESCRIBE_CLUSTER: &[Field] = &[always(BOOLEAN), since(1, INT8)];
