//! Apply: topics to one Postgres, whole transactions of the source in commit order, each exactly
//! once in effect.
//!
//! In the order in which a change meets them:
//!
//! - `kafka`: records of the commits topic and of the data topics;
//! - `consume`: which commits records are next, and the changes that they cover, in order;
//! - `registry`, `schemas`: what a record's schema id means;
//! - `differences`: what the target's tables have otherwise than the source's;
//! - `decode`: from Avro bytes to Postgres' binary images;
//! - `batch`: what is left of many changes when only the result counts;
//! - `statement`, `target`: SQL, and the session that runs it;
//! - `progress`: how far the target is, kept in the transaction that writes the rows;
//! - `control`: the rules that operators set;
//! - `conflicts`: what to do with changes that the target refuses;
//! - `schema_change`: changes of tables, and what to do with them;
//! - `dead_letters`: what operators do with those that were set aside;
//! - `steps`: from portions to transactions on the target, by those rules;
//! - `bell`: how steps ring for what is done beside them;
//! - `outbox`: dead letters, into their topic;
//! - `indexes`: those of large tables, built while rows flow;
//! - `aside`: what is kept back, replayed and verified, as metrics;
//! - `pipeline`: the loop that calls them;
//! - `replay`: what the topics still hold, once more.

mod aside;
mod batch;
mod bell;
mod config;
mod conflicts;
mod consume;
pub mod control;
pub mod dead_letters;
mod decode;
mod differences;
mod error;
mod indexes;
mod kafka;
mod metrics;
mod outbox;
#[doc(hidden)]
pub mod parts;
mod pipeline;
pub mod progress;
mod registry;
pub mod replay;
mod schema_change;
mod schemas;
mod statement;
mod steps;
mod target;

pub use config::Config;
pub use conflicts::{Conflicts, NoPolicy, Policy, TablePolicy};
pub use consume::{ChainError, PartError, Source};
pub use decode::DecodeError;
pub use differences::{
    ColumnName, Differences, DifferencesError, Mask, MaskedColumn, NoDifference, RenamedColumn,
    RenamedSchema, RenamedTable, Treatment, widens,
};
pub use error::{
    ChangePlace, CoveredError, Drift, Error, KafkaError, RecordPlace, RegistryError, StatementError,
};
pub use pipeline::run;
pub use schema_change::{NoSchemaPolicy, SchemaChanges, SchemaPolicy, TagPolicy};
pub use schemas::fingerprint;
pub use target::SEQUENCES_BEHIND;
