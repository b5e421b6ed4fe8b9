//! The contract between capture and apply: positions, relations, type mapping, envelope, framing,
//! names.

mod lsn;
mod position;
mod table;
pub mod topic;

pub use lsn::{Lsn, ParseLsnError};
pub use position::Position;
pub use table::{TableName, quoted};
