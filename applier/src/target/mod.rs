//! Writing to the target.

mod flight;
mod progress;
mod rows;
mod session;
mod table;

pub(crate) use session::Session;
