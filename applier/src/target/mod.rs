//! Writing to the target.

mod flight;
mod image;
mod job;
mod letters;
mod overwrite;
mod progress;
mod redrive;
mod rows;
mod session;
mod singly;
mod statements;
mod table;
mod touch;
mod writer;

pub(crate) use session::{Outcome, Session};
pub(crate) use table::{create, find, target_type};
pub(crate) use writer::{SETTINGS, Writer};
