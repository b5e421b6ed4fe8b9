//! From the commits topic to whole changes in commit order.

mod chain;
mod covered;
mod merge;
mod parts;
mod reader;

pub(crate) use chain::{Admission, Link, admit};
pub use chain::{ChainError, Source};
pub(crate) use covered::{Covered, Item, Reading, commit_record};
pub use parts::PartError;
pub(crate) use reader::Reader;
