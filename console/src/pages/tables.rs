//! What is said of a table on several pages.

use std::collections::BTreeMap;

use maud::{Markup, html};
use operate::status::Operations;

use crate::facts::State;
use crate::http::path_segment;

/// What keeps a table back.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    /// Held by an operator, or by an error.
    pub(super) cause: Option<String>,
    pub(super) reason: Option<String>,
    /// Up to here it has everything, when it is held.
    pub(super) commit_lsn: Option<String>,
    pub(super) held_seconds: Option<u64>,
    /// Open ones.
    pub(super) letters: i64,
}

/// Of the tables that something keeps back, by name.
pub(super) fn standings(operations: &Operations) -> BTreeMap<String, Standing> {
    let mut standings = BTreeMap::<String, Standing>::new();
    for (table, letters) in &operations.dead_letters.by_table {
        standings.entry(table.clone()).or_default().letters = *letters;
    }
    for held in &operations.held_tables {
        let standing = standings.entry(held.table.clone()).or_default();
        standing.cause = Some(held.cause.clone());
        standing.reason = Some(held.reason.clone());
        standing.commit_lsn = Some(held.commit_lsn.to_string());
        standing.held_seconds = Some(held.held_seconds);
    }
    standings
}

impl Standing {
    /// More is worse: what an error holds, what an operator holds, what lacks rows.
    pub(super) fn weight(&self) -> (u8, i64) {
        let held = match self.cause.as_deref() {
            Some("error") => 2,
            Some(_) => 1,
            None => 0,
        };
        (held, self.letters)
    }

    pub(super) fn badge(&self) -> Markup {
        let (text, state) = match (self.cause.as_deref(), self.letters) {
            (Some("error"), _) => ("held by an error", State::Bad),
            (Some(_), _) => ("held", State::Warn),
            (None, 0) => ("replicating", State::Good),
            (None, _) => ("rows set aside", State::Warn),
        };
        html! { span.badge data-state=(state.name()) { (text) } }
    }
}

pub(super) fn path(table: &str) -> String {
    format!("/replication/{}", path_segment(table))
}
