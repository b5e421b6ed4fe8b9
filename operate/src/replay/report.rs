//! What programs and people are told of a replay.

use std::time::SystemTime;

use applier::replay::{self, Destination, Difference, Entry, Numbers, Outcome, Place, TableRows};
use change::{Lsn, TableName};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::time;

/// What it did, or would do.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Report {
    /// None of a dry run.
    pub id: Option<i64>,
    pub dry_run: bool,
    pub from_lsn: Lsn,
    pub to_lsn: Lsn,
    /// The rows' states are those of then.
    pub at_lsn: Lsn,
    pub earliest: Earliest,
    pub tables: Vec<TableRows>,
    pub total: Numbers,
    /// Some of the rows that differ.
    pub differences: Vec<RowDifference>,
    /// What it took, or what a run is expected to take.
    pub seconds: f64,
}

/// Replays can begin here or later.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Earliest {
    pub lsn: Lsn,
    /// Of the commits topic.
    pub offset: i64,
    pub commit_time: String,
}

/// A row that a replay would change, or has changed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct RowDifference {
    pub schema: String,
    pub table: String,
    pub key: Value,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

/// A replay as the history has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Past {
    pub id: i64,
    /// The schema that holds the copy; none: the live tables.
    pub into: Option<String>,
    pub from_lsn: Lsn,
    pub to_lsn: Lsn,
    /// None: all.
    pub tables: Vec<String>,
    pub state: String,
    pub read_lsn: Option<Lsn>,
    pub rows_read: u64,
    pub numbers: Vec<TableRows>,
    pub error: Option<String>,
    pub started_by: String,
    pub reason: String,
    pub started_at: String,
    pub touched_at: String,
    pub finished_at: Option<String>,
}

/// How far a replay is that the console does.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Course {
    /// How far the dry run is, in words.
    Trying {
        far: String,
    },
    /// What would be done.
    Planned {
        report: Box<Report>,
    },
    Running {
        far: String,
    },
    Done {
        report: Box<Report>,
    },
    Failed {
        error: String,
    },
}

/// A replay that the console was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Begun {
    /// By which it is asked for.
    pub plan: u64,
    /// What is to be typed for it to be done.
    pub confirm: String,
}

impl Report {
    pub fn of(outcome: &Outcome) -> Self {
        let mut total = Numbers::default();
        outcome.tables.values().for_each(|it| total += *it);
        Self {
            id: outcome.id,
            dry_run: outcome.id.is_none(),
            from_lsn: outcome.from,
            to_lsn: outcome.to,
            at_lsn: outcome.at,
            earliest: Earliest::of(&outcome.earliest),
            tables: replay::table_rows(&outcome.tables),
            total,
            differences: outcome.differences.iter().map(RowDifference::of).collect(),
            seconds: outcome.takes.as_secs_f64(),
        }
    }
}

impl Earliest {
    fn of(place: &Place) -> Self {
        Self {
            lsn: place.first,
            offset: place.offset,
            commit_time: time(place.commit_time),
        }
    }
}

impl RowDifference {
    fn of(difference: &Difference) -> Self {
        Self {
            schema: difference.table.schema.clone(),
            table: difference.table.name.clone(),
            key: difference.key.clone(),
            before: difference.before.clone(),
            after: difference.after.clone(),
        }
    }
}

impl Past {
    pub fn of(entry: &Entry) -> Self {
        let time = |time: SystemTime| {
            DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true)
        };
        Self {
            id: entry.id,
            into: match &entry.into {
                Destination::Live => None,
                Destination::Schema(schema) => Some(schema.clone()),
            },
            from_lsn: entry.from,
            to_lsn: entry.to,
            tables: entry.tables.iter().map(TableName::to_string).collect(),
            state: entry.state.clone(),
            read_lsn: entry.read,
            rows_read: entry.rows_read,
            numbers: replay::table_rows(&entry.numbers),
            error: entry.error.clone(),
            started_by: entry.started_by.clone(),
            reason: entry.reason.clone(),
            started_at: time(entry.started_at),
            touched_at: time(entry.touched_at),
            finished_at: entry.finished_at.map(time),
        }
    }
}
