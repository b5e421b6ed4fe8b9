//! Writing to the target.

mod flight;
mod image;
mod job;
mod letters;
mod progress;
mod redrive;
mod rows;
mod session;
mod singly;
mod statements;
mod table;

pub(crate) use session::{Outcome, Session};
