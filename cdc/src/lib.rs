//! Capture: one Postgres to topics.
//!
//! ```text
//! source ─▶ wire ─▶ (spool) ─▶ encode ─▶ publish ─▶ Kafka
//!    ▲                ▲                     │
//!    │             snapshot                 ▼
//!    └──────────── progress ◀────────── what counts
//! ```
//!
//! Modules in the order in which data meets them.

mod config;
pub use config::{Config, LargeRecords};

mod pipeline;
pub use pipeline::run;

mod begin;

mod error;
pub use error::Error;

mod history;
mod publication;

pub mod source;

mod link;

pub mod wire;

pub mod spool;

mod control;
pub use control::SQL;

mod capture;
mod goal;
mod horizon;
mod transaction;

mod catalog;
pub use catalog::{CatalogError, unsendable_part};

mod registry;
mod tables;

mod refusals;

mod schema_changes;
pub use schema_changes::SQL as SCHEMA_CHANGES_SQL;

mod encode;

mod messages;

mod snapshot;

mod resnapshot;

mod sequences;
pub use sequences::{SequencesError, sequences, unreadable_sequences};

mod kafka;
mod publish;

mod progress;

pub mod standing;

mod metrics;

#[doc(hidden)]
pub mod parts;
