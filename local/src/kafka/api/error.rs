//! Which of Kafka's error codes tells a client what went wrong here.

use kafka_protocol::error::ResponseError;
use kafka_protocol::protocol::StrBytes;

use crate::kafka::batch::BatchError;
use crate::kafka::log::{AppendError, ReadError};
use crate::kafka::topics::TopicError;

pub(super) const NO_ERROR: i16 = 0;

pub(super) fn append_code(error: &AppendError) -> ResponseError {
    match error {
        AppendError::Batch(BatchError::Checksum | BatchError::Truncated | BatchError::Length) => {
            ResponseError::CorruptMessage
        }
        AppendError::Batch(BatchError::Magic(_)) => ResponseError::UnsupportedForMessageFormat,
        AppendError::Batch(BatchError::RecordCount)
        | AppendError::NotOneBatch
        | AppendError::Control => ResponseError::InvalidRecord,
        AppendError::TooLarge { .. } => ResponseError::MessageTooLarge,
        AppendError::LargerThanSegment { .. } => ResponseError::RecordListTooLarge,
        AppendError::Timestamp { .. } => ResponseError::InvalidTimestamp,
        AppendError::Compression => ResponseError::UnsupportedCompressionType,
        AppendError::Transactional => ResponseError::InvalidTxnState,
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

pub(super) fn topic_code(error: &TopicError) -> ResponseError {
    match error {
        TopicError::Exists(_) => ResponseError::TopicAlreadyExists,
        TopicError::Unknown(_) => ResponseError::UnknownTopicOrPartition,
        TopicError::Name(_) | TopicError::Collision(..) => ResponseError::InvalidTopicException,
        TopicError::Partitions => ResponseError::InvalidPartitions,
        TopicError::Config(_) => ResponseError::InvalidConfig,
        TopicError::Io(_) => ResponseError::KafkaStorageError,
    }
}

/// The text that goes with a code.
pub(super) fn message(error: &impl std::error::Error) -> Option<StrBytes> {
    Some(StrBytes::from_string(error.to_string()))
}
