//! From the commits topic to whole changes in commit order.

mod chain;
mod covered;
mod merge;
mod reader;

pub(crate) use chain::Link;
pub use chain::{ChainError, Source};
pub(crate) use reader::Reader;
