use crate::kafka::log::Partition;

/// What a reader wants to see of transactions (KIP-98).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isolation {
    Uncommitted,
    Committed,
}

impl Isolation {
    /// Anything but 1 is `read_uncommitted`, as Kafka reads it.
    pub(super) fn from_wire(level: i8) -> Self {
        match level {
            1 => Self::Committed,
            _ => Self::Uncommitted,
        }
    }

    /// The offset after the last record that the reader may see.
    pub(super) fn end_of(self, partition: &Partition) -> i64 {
        match self {
            Self::Uncommitted => partition.end_offset(),
            Self::Committed => partition.last_stable_offset(),
        }
    }
}
