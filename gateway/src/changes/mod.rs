//! Changes of articles, from the topic that capture writes: whoever makes them, through REST or by SQL.

mod config;
pub use config::Config;

mod change;
pub(crate) use change::{Change, Operation};

mod feed;
pub(crate) use feed::{Captured, Changes, Lost};

mod registry;

mod kafka;

mod follow;
pub(crate) use follow::{DEPENDENCY, follow};
