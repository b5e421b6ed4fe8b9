//! What the source's bytes mean: the streaming replication protocol, `pgoutput` and binary COPY.
//!
//! Bytes in, values out: no socket, clock or log. Decoded values borrow from their input, every read
//! is checked, leftover bytes are an error, and no length from the peer reserves memory by itself.
//!
//! - [`replication`]: the frames inside CopyBoth (manual, "Streaming Replication Protocol");
//! - [`pgoutput`]: the messages inside XLogData (manual, "Logical Replication Message Formats");
//! - [`copy`]: the stream of `copy … to stdout (format binary)` (manual, "COPY", "Binary Format");
//! - [`mod@tuple`]: a row, the same for the last two, so that there is one decoder of values.
#![deny(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

pub mod replication;

pub mod pgoutput;

pub mod copy;

pub mod tuple;

mod cursor;
mod error;
mod timestamp;

pub use error::WireError;
pub use timestamp::PgTimestamp;
pub use tuple::{Column, Columns, TupleData};

/// An object identifier of the source's catalog.
pub type Oid = u32;

/// A transaction's or subtransaction's id. Wraps around: equal ids are the same transaction only
/// while it is in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Xid(pub u32);

impl std::fmt::Display for Xid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
