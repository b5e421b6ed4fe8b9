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

const fn api(key: ApiKey, min: i16, max: i16, body: &'static [Field]) -> Api {
    Api {
        key,
        min,
        max,
        body,
    }
}

const APIS: &[Api] = &[
    api(ApiKey::Produce, 3, 11, PRODUCE),
    api(ApiKey::Fetch, 4, 12, FETCH),
    api(ApiKey::ListOffsets, 1, 7, LIST_OFFSETS),
    api(ApiKey::Metadata, 0, 12, METADATA),
    api(ApiKey::OffsetCommit, 2, 9, OFFSET_COMMIT),
    api(ApiKey::OffsetFetch, 1, 9, OFFSET_FETCH),
    api(ApiKey::FindCoordinator, 0, 4, FIND_COORDINATOR),
    api(ApiKey::JoinGroup, 0, 9, JOIN_GROUP),
    api(ApiKey::Heartbeat, 0, 4, HEARTBEAT),
    api(ApiKey::LeaveGroup, 0, 5, LEAVE_GROUP),
    api(ApiKey::SyncGroup, 0, 5, SYNC_GROUP),
    api(ApiKey::DescribeGroups, 0, 6, DESCRIBE_GROUPS),
    api(ApiKey::ListGroups, 0, 5, LIST_GROUPS),
    api(ApiKey::ApiVersions, 0, 4, API_VERSIONS),
    api(ApiKey::CreateTopics, 2, 7, CREATE_TOPICS),
    api(ApiKey::DeleteTopics, 1, 6, DELETE_TOPICS),
    api(ApiKey::DeleteRecords, 0, 2, DELETE_RECORDS),
    api(ApiKey::InitProducerId, 0, 5, INIT_PRODUCER_ID),
    api(ApiKey::OffsetForLeaderEpoch, 2, 4, OFFSET_FOR_LEADER_EPOCH),
    api(ApiKey::AddPartitionsToTxn, 0, 3, ADD_PARTITIONS_TO_TXN),
    api(ApiKey::AddOffsetsToTxn, 0, 4, ADD_OFFSETS_TO_TXN),
    api(ApiKey::EndTxn, 0, 4, END_TXN),
    api(ApiKey::TxnOffsetCommit, 0, 4, TXN_OFFSET_COMMIT),
    api(ApiKey::DescribeConfigs, 1, 4, DESCRIBE_CONFIGS),
    api(ApiKey::AlterConfigs, 0, 2, ALTER_CONFIGS),
    api(ApiKey::CreatePartitions, 0, 3, CREATE_PARTITIONS),
    api(ApiKey::DeleteGroups, 0, 2, DELETE_GROUPS),
    api(
        ApiKey::IncrementalAlterConfigs,
        0,
        1,
        INCREMENTAL_ALTER_CONFIGS,
    ),
    api(ApiKey::OffsetDelete, 0, 0, OFFSET_DELETE),
    api(ApiKey::DescribeCluster, 0, 1, DESCRIBE_CLUSTER),
    api(ApiKey::DescribeProducers, 0, 0, DESCRIBE_PRODUCERS),
    api(ApiKey::DescribeTransactions, 0, 0, DESCRIBE_TRANSACTIONS),
    api(ApiKey::ListTransactions, 0, 1, LIST_TRANSACTIONS),
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

const OFFSET_COMMIT: &[Field] = &[
    always(Kind::Text),   // group_id
    always(INT32),        // generation_id_or_member_epoch
    always(Kind::Text),   // member_id
    since(7, Kind::Text), // group_instance_id
    between(2, 4, INT64), // retention_time_ms
    always(Kind::Array(&[
        always(Kind::Text),
        always(Kind::Array(&[
            always(INT32),      // partition_index
            always(INT64),      // committed_offset
            since(6, INT32),    // committed_leader_epoch
            always(Kind::Text), // committed_metadata
        ])),
    ])),
];

const OFFSET_FETCH: &[Field] = &[
    between(0, 7, Kind::Text), // group_id
    between(
        0,
        7,
        Kind::Array(&[always(Kind::Text), always(Kind::ArrayOfFixed(4))]),
    ),
    since(
        8,
        Kind::Array(&[
            always(Kind::Text),   // group_id
            since(9, Kind::Text), // member_id
            since(9, INT32),      // member_epoch
            always(Kind::Array(&[
                always(Kind::Text),
                always(Kind::ArrayOfFixed(4)),
            ])),
        ]),
    ),
    since(7, BOOLEAN), // require_stable
];

const FIND_COORDINATOR: &[Field] = &[
    between(0, 3, Kind::Text), // key
    since(1, INT8),            // key_type
    since(4, Kind::ArrayOfText),
];

const JOIN_GROUP: &[Field] = &[
    always(Kind::Text),   // group_id
    always(INT32),        // session_timeout_ms
    since(1, INT32),      // rebalance_timeout_ms
    always(Kind::Text),   // member_id
    since(5, Kind::Text), // group_instance_id
    always(Kind::Text),   // protocol_type
    always(Kind::Array(&[always(Kind::Text), always(Kind::Blob)])),
    since(8, Kind::Text), // reason
];

const SYNC_GROUP: &[Field] = &[
    always(Kind::Text),   // group_id
    always(INT32),        // generation_id
    always(Kind::Text),   // member_id
    since(3, Kind::Text), // group_instance_id
    since(5, Kind::Text), // protocol_type
    since(5, Kind::Text), // protocol_name
    always(Kind::Array(&[always(Kind::Text), always(Kind::Blob)])),
];

const HEARTBEAT: &[Field] = &[
    always(Kind::Text),   // group_id
    always(INT32),        // generation_id
    always(Kind::Text),   // member_id
    since(3, Kind::Text), // group_instance_id
];

const LEAVE_GROUP: &[Field] = &[
    always(Kind::Text),        // group_id
    between(0, 2, Kind::Text), // member_id
    since(
        3,
        Kind::Array(&[always(Kind::Text), always(Kind::Text), since(5, Kind::Text)]),
    ),
];

const ALTER_CONFIGS: &[Field] = &[
    always(Kind::Array(&[
        always(INT8), // resource_type
        always(Kind::Text),
        always(Kind::Array(&[always(Kind::Text), always(Kind::Text)])),
    ])),
    always(BOOLEAN), // validate_only
];

const INCREMENTAL_ALTER_CONFIGS: &[Field] = &[
    always(Kind::Array(&[
        always(INT8), // resource_type
        always(Kind::Text),
        always(Kind::Array(&[
            always(Kind::Text),
            always(INT8),
            always(Kind::Text),
        ])),
    ])),
    always(BOOLEAN), // validate_only
];

const DELETE_RECORDS: &[Field] = &[
    always(Kind::Array(&[
        always(Kind::Text),
        always(Kind::Array(&[always(INT32), always(INT64)])),
    ])),
    always(INT32), // timeout_ms
];

const CREATE_PARTITIONS: &[Field] = &[
    always(Kind::Array(&[
        always(Kind::Text),
        always(INT32), // count
        always(Kind::Array(&[always(Kind::ArrayOfFixed(4))])),
    ])),
    always(INT32),   // timeout_ms
    always(BOOLEAN), // validate_only
];

const OFFSET_FOR_LEADER_EPOCH: &[Field] = &[
    since(3, INT32), // replica_id
    always(Kind::Array(&[
        always(Kind::Text),
        always(Kind::Array(&[
            always(INT32), // partition
            always(INT32), // current_leader_epoch
            always(INT32), // leader_epoch
        ])),
    ])),
];

const DESCRIBE_GROUPS: &[Field] = &[always(Kind::ArrayOfText), since(3, BOOLEAN)];

const LIST_GROUPS: &[Field] = &[
    since(4, Kind::ArrayOfText), // states_filter
    since(5, Kind::ArrayOfText), // types_filter
];

const DELETE_GROUPS: &[Field] = &[always(Kind::ArrayOfText)];

const OFFSET_DELETE: &[Field] = &[
    always(Kind::Text), // group_id
    always(Kind::Array(&[
        always(Kind::Text),
        always(Kind::ArrayOfFixed(4)),
    ])),
];

const ADD_PARTITIONS_TO_TXN: &[Field] = &[
    always(Kind::Text), // transactional_id
    always(INT64),
    always(INT16), // producer id and epoch
    always(Kind::Array(&[
        always(Kind::Text),
        always(Kind::ArrayOfFixed(4)),
    ])),
];

const ADD_OFFSETS_TO_TXN: &[Field] = &[
    always(Kind::Text), // transactional_id
    always(INT64),
    always(INT16),      // producer id and epoch
    always(Kind::Text), // group_id
];

const END_TXN: &[Field] = &[
    always(Kind::Text), // transactional_id
    always(INT64),
    always(INT16),   // producer id and epoch
    always(BOOLEAN), // committed
];

const TXN_OFFSET_COMMIT: &[Field] = &[
    always(Kind::Text), // transactional_id
    always(Kind::Text), // group_id
    always(INT64),
    always(INT16),        // producer id and epoch
    since(3, INT32),      // generation_id
    since(3, Kind::Text), // member_id
    since(3, Kind::Text), // group_instance_id
    always(Kind::Array(&[
        always(Kind::Text),
        always(Kind::Array(&[
            always(INT32),      // partition_index
            always(INT64),      // committed_offset
            since(2, INT32),    // committed_leader_epoch
            always(Kind::Text), // committed_metadata
        ])),
    ])),
];

const DESCRIBE_PRODUCERS: &[Field] = &[always(Kind::Array(&[
    always(Kind::Text),
    always(Kind::ArrayOfFixed(4)),
]))];

const DESCRIBE_TRANSACTIONS: &[Field] = &[always(Kind::ArrayOfText)];

const LIST_TRANSACTIONS: &[Field] = &[
    always(Kind::ArrayOfText),     // state_filters
    always(Kind::ArrayOfFixed(8)), // producer_id_filters
    since(1, INT64),               // duration_filter
];
