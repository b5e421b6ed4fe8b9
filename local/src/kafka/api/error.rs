//! Which of Kafka's error codes tells a client what went wrong here.

use std::cmp::Ordering;

use kafka_protocol::error::ResponseError;
use kafka_protocol::protocol::StrBytes;
use tracing::error;

use crate::kafka::batch::BatchError;
use crate::kafka::groups::{GroupDeleteError, GroupError};
use crate::kafka::log::{AppendError, ReadError};
use crate::kafka::topics::TopicError;
use crate::kafka::transactions::TransactionError;

pub(super) const NO_ERROR: i16 = 0;

pub(super) fn append_code(error: &AppendError) -> ResponseError {
    match error {
        AppendError::Batch(BatchError::Checksum | BatchError::Truncated | BatchError::Length) => {
            ResponseError::CorruptMessage
        }
        AppendError::Batch(BatchError::Magic(_)) => ResponseError::UnsupportedForMessageFormat,
        AppendError::Batch(BatchError::RecordCount)
        | AppendError::NotOneBatch
        | AppendError::WithoutKey(_)
        | AppendError::Records(_)
        | AppendError::Control => ResponseError::InvalidRecord,
        AppendError::TooLarge { .. } => ResponseError::MessageTooLarge,
        AppendError::LargerThanSegment { .. } => ResponseError::RecordListTooLarge,
        AppendError::Timestamp { .. } => ResponseError::InvalidTimestamp,
        AppendError::Compression => ResponseError::UnsupportedCompressionType,
        AppendError::NotInTransaction => ResponseError::InvalidTxnState,
        AppendError::OutOfOrder { .. } => ResponseError::OutOfOrderSequenceNumber,
        AppendError::StaleEpoch { .. } => ResponseError::InvalidProducerEpoch,
        AppendError::Deleted => ResponseError::UnknownTopicOrPartition,
        AppendError::Io(_) => ResponseError::KafkaStorageError,
    }
}

pub(super) fn read_code(error: &ReadError) -> ResponseError {
    match error {
        ReadError::OutOfRange { .. } => ResponseError::OffsetOutOfRange,
        ReadError::Scan(_) => ResponseError::KafkaStorageError,
    }
}

/// What a client that names a leader epoch must be told: it knows an older leader, or one that is
/// not known here (KIP-320). -1 stands for no epoch.
pub(super) fn epoch_code(named: i32, current: i32) -> Option<ResponseError> {
    match named.cmp(&current) {
        _ if named < 0 => None,
        Ordering::Less => Some(ResponseError::FencedLeaderEpoch),
        Ordering::Equal => None,
        Ordering::Greater => Some(ResponseError::UnknownLeaderEpoch),
    }
}

pub(super) fn topic_code(error: &TopicError) -> ResponseError {
    match error {
        TopicError::Exists(_) => ResponseError::TopicAlreadyExists,
        TopicError::Unknown(_) => ResponseError::UnknownTopicOrPartition,
        TopicError::Name(_) | TopicError::Collision(..) => ResponseError::InvalidTopicException,
        TopicError::Partitions | TopicError::NoIncrease { .. } => ResponseError::InvalidPartitions,
        TopicError::TooMany => ResponseError::PolicyViolation,
        TopicError::Config(_) => ResponseError::InvalidConfig,
        TopicError::Io(_) => ResponseError::KafkaStorageError,
    }
}

pub(super) fn group_code(error: &GroupError) -> ResponseError {
    match error {
        GroupError::MemberIdRequired(_) => ResponseError::MemberIdRequired,
        GroupError::UnknownMember => ResponseError::UnknownMemberId,
        GroupError::FencedInstance => ResponseError::FencedInstanceId,
        GroupError::IllegalGeneration => ResponseError::IllegalGeneration,
        GroupError::RebalanceInProgress => ResponseError::RebalanceInProgress,
        GroupError::InconsistentProtocol => ResponseError::InconsistentGroupProtocol,
        GroupError::TooManyMembers => ResponseError::GroupMaxSizeReached,
        GroupError::InvalidGroupId => ResponseError::InvalidGroupId,
        GroupError::InvalidSessionTimeout => ResponseError::InvalidSessionTimeout,
    }
}

pub(super) fn group_delete_code(error: GroupDeleteError) -> ResponseError {
    match error {
        GroupDeleteError::NotFound => ResponseError::GroupIdNotFound,
        GroupDeleteError::NotEmpty => ResponseError::NonEmptyGroup,
    }
}

/// The code for a transactional request. Until `fenced_since` a request has no code of its own for
/// a producer that is fenced (KIP-588).
pub(super) fn transaction_code(
    error: &TransactionError,
    version: i16,
    fenced_since: i16,
) -> ResponseError {
    match error {
        TransactionError::InvalidId => ResponseError::InvalidRequest,
        TransactionError::InvalidTimeout => ResponseError::InvalidTransactionTimeout,
        TransactionError::Mapping => ResponseError::InvalidProducerIdMapping,
        TransactionError::Fenced if version < fenced_since => ResponseError::InvalidProducerEpoch,
        TransactionError::Fenced => ResponseError::ProducerFenced,
        TransactionError::Concurrent => ResponseError::ConcurrentTransactions,
        TransactionError::InvalidState => ResponseError::InvalidTxnState,
        TransactionError::Io(cause) => {
            error!(%cause, "write transaction state");
            ResponseError::KafkaStorageError
        }
    }
}

/// The code of an outcome that has nothing else to tell.
pub(super) fn outcome_code(outcome: &Result<(), GroupError>) -> i16 {
    outcome
        .as_ref()
        .err()
        .map_or(NO_ERROR, |error| group_code(error).code())
}

/// The text that goes with a code.
pub(super) fn message(error: &impl std::error::Error) -> Option<StrBytes> {
    Some(StrBytes::from_string(error.to_string()))
}
