//! What capture heeds beside the stream: what operators want, how the slot is, and which
//! transactions the source shows.
//!
//! Looked at once a second over a connection of its own, so that the stream never waits for it.

mod pressure;
pub(crate) use pressure::Pressure;

mod tables;
pub use tables::SQL;
pub(crate) use tables::{Tables, ensure};

mod visibility;
pub(crate) use visibility::{Hidden, ParseVisibilityError, VISIBLE, Visibility, horizon, short};

mod watch;
pub(crate) use watch::{Order, Sight, Watch};
