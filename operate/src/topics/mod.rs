//! What stands in the pipeline's topics, for people.
//!
//! - `listing`: the topics, how much they hold, and how far apply is in each;
//! - `index`: the commits topic as the index by which an LSN is found, and the judge of what counts;
//! - `cursor`, `merge`: where a page begins, and the records of several partitions in one order;
//! - `page`: a page of records;
//! - `plans`, `record`: what a record says, by the schema it was written with.
//!
//! Every question has a bound in time, in records and in bytes, and says so where it ends at one.

mod cursor;
mod index;
mod listing;
mod merge;
mod page;
mod plans;
mod record;

pub use cursor::{Cursor, ParseCursorError};
pub use index::Standing;
pub use listing::{Listing, Partition, Slice, Topic, list};
pub use page::{Direction, Holds, Missing, Page, Question, RECORDS_MAX, Start, read};
pub use plans::Plans;
pub use record::{Cell, Commit, CommitRange, Record, Shown};

use serde::Serialize;

use change::TableName;
use change::topic::Topics;

/// What a topic of the pipeline is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The changes of a table.
    Table(#[serde(serialize_with = "table_text")] TableName),
    Commits,
    /// Of Lockstep's own, but neither of these.
    Other,
}

impl Kind {
    fn of(topic: &str, topics: &Topics) -> Self {
        match topics.table(topic) {
            Some(table) => Self::Table(table),
            None if topic == topics.commits() => Self::Commits,
            None => Self::Other,
        }
    }
}

fn table_text<S: serde::Serializer>(table: &TableName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(table)
}
