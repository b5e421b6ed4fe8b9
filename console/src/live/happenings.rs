//! What has changed from one look to the next, for the list of last events.

use std::collections::{BTreeSet, VecDeque};
use std::time::SystemTime;

use operate::status::Gravity;
use serde::Serialize;

use super::Look;
use crate::facts::State;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Happening {
    #[serde(skip)]
    pub(crate) at: SystemTime,
    pub(crate) text: String,
    pub(crate) state: State,
}

/// The last ones, in memory.
#[derive(Debug, Default)]
pub(crate) struct Happenings(VecDeque<Happening>);

const KEPT: usize = 200;

impl Happenings {
    pub(super) fn add(&mut self, previous: Option<&Look>, look: &Look) {
        for (text, state) in between(previous, look) {
            if self.0.len() == KEPT {
                self.0.pop_front();
            }
            self.0.push_back(Happening {
                at: look.at,
                text,
                state,
            });
        }
    }

    /// The newest first.
    pub(crate) fn last(&self, count: usize) -> Vec<Happening> {
        self.0.iter().rev().take(count).cloned().collect()
    }
}

fn between(previous: Option<&Look>, look: &Look) -> Vec<(String, State)> {
    let mut found = Vec::new();
    let verdict = &look.report.verdict;
    let before = previous.map(|previous| &previous.report.verdict);
    if before.is_none_or(|before| before.state != verdict.state || before.reason != verdict.reason)
    {
        found.push(match (verdict.state, &verdict.reason) {
            (Gravity::Healthy, _) => ("all is well".to_owned(), State::Good),
            (Gravity::Degraded, reason) => {
                (format!("degraded: {}", or_unknown(reason)), State::Warn)
            }
            (Gravity::Stopped, reason) => (format!("stopped: {}", or_unknown(reason)), State::Bad),
        });
    }
    let Some(previous) = previous else {
        return found;
    };
    if let (Some(before), Some(phase)) = (previous.report.phase, look.report.phase)
        && before != phase
    {
        found.push((format!("the target is {}", phase.name()), State::Plain));
    }
    if let (Some(before), Some(now)) = (&previous.operations, &look.operations) {
        let (before, now) = (&before.value, &now.value);
        match (before.apply_paused, now.apply_paused) {
            (false, true) => found.push(("apply was paused".to_owned(), State::Warn)),
            (true, false) => found.push(("apply was resumed".to_owned(), State::Good)),
            (true, true) | (false, false) => {}
        }
        let more = now.dead_letters.open - before.dead_letters.open;
        if more > 0 {
            found.push((format!("{more} more dead letters"), State::Warn));
        }
        let tables = |operations: &operate::status::Operations| -> BTreeSet<String> {
            let held = operations.held_tables.iter();
            held.map(|held| held.table.clone()).collect()
        };
        let (then, held) = (tables(before), tables(now));
        for table in held.difference(&then) {
            found.push((format!("{table} is held"), State::Warn));
        }
        for table in then.difference(&held) {
            found.push((format!("{table} is held no more"), State::Good));
        }
    }
    found
}

fn or_unknown(reason: &Option<String>) -> &str {
    reason.as_deref().unwrap_or("for an unknown reason")
}
