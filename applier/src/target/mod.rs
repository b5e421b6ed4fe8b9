//! Writing to the target.

mod flight;
mod image;
mod job;
mod progress;
mod rows;
mod session;
mod statements;
mod table;

pub(crate) use session::{Outcome, Session};
