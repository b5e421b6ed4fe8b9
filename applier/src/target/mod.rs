//! Writing to the target.

mod flight;
mod image;
mod indexes;
mod job;
mod letters;
mod overwrite;
mod parts;
mod progress;
mod redrive;
mod rows;
mod schema_change;
mod sequences;
mod session;
mod statements;
mod table;
mod touch;
mod writer;

pub use sequences::SEQUENCES_BEHIND;
pub(crate) use session::{APPLICATION_NAME, Outcome, Policies, Session};
pub(crate) use table::{create, find, target_type};
pub(crate) use writer::{SETTINGS, Writer};
