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

use anyhow::Context;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use change::TableName;
use change::topic::Topics;

/// What a topic of the pipeline is for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The changes of a table.
    Table(#[serde(serialize_with = "table_text", deserialize_with = "table_of_text")] TableName),
    Commits,
    /// What tables were and became.
    SchemaChanges,
    /// What somebody has written into the source's log.
    Messages,
    /// Of Lockstep's own, but none of these.
    Other,
}

impl Kind {
    fn of(topic: &str, topics: &Topics) -> Self {
        match topics.table(topic) {
            Some(table) => Self::Table(table),
            None if topic == topics.messages() => Self::Messages,
            None if topic == topics.commits() => Self::Commits,
            None if topic == topics.schema_changes() => Self::SchemaChanges,
            None => Self::Other,
        }
    }
}

/// The topic that somebody means, who may name a table as it is in Postgres.
///
/// # Errors
/// When there can be no topic of the table.
pub fn topic_of(name: &str, topics: &Topics) -> anyhow::Result<String> {
    let own = format!("{}.", topics.prefix());
    match (name.starts_with(&own), name.split_once('.')) {
        (true, _) | (false, None) => Ok(name.to_owned()),
        (false, Some((schema, table))) => {
            let table = TableName::new(schema, table);
            topics.data(&table).context("name the table's topic")
        }
    }
}

fn table_text<S: serde::Serializer>(table: &TableName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(table)
}

fn table_of_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<TableName, D::Error> {
    String::deserialize(deserializer)?
        .parse()
        .map_err(D::Error::custom)
}
