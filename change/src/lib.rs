//! The contract between capture and apply: positions, relations, type mapping, envelope, framing,
//! names.
//!
//! Modules in the order in which they build on each other:
//!
//! - [`Lsn`], [`Position`]: where a change stands;
//! - [`TableName`], [`topic`]: what things are called;
//! - [`avro`]: the datum encoding, byte by byte;
//! - [`value`]: one column value, from Postgres' binary image to an Avro datum and back;
//! - [`relation`]: a table's columns and key;
//! - [`envelope`]: the schemas of a change record and of its key;
//! - [`commit`]: the record that makes a batch of transactions count;
//! - [`schema_change`]: a change of a table's own definition;
//! - [`framing`]: the five bytes in front of every datum.

pub mod avro;
pub mod commit;
pub mod envelope;
pub mod framing;
mod lsn;
mod position;
pub mod relation;
pub mod schema_change;
mod table;
pub mod topic;
pub mod value;

pub use lsn::{Lsn, ParseLsnError};
pub use position::Position;
pub use table::{OWN_SCHEMA, ParseTableError, TableName, identifier, quoted};
