//! What is not well, the worst first, and what to do about it.

use serde::{Deserialize, Serialize};

use super::observation::Observation;
use super::operations::Operations;
use super::report::{Clocks, Report};
use cdc::standing::Slot;

/// Later is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Gravity {
    Healthy,
    /// Changes still arrive, or will by themselves, but somebody should look.
    Degraded,
    /// Nothing arrives until somebody acts.
    Stopped,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Problem {
    pub gravity: Gravity,
    pub problem: String,
    /// What to do.
    pub mend: String,
}

/// In one line: how it is, the most important reason, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Verdict {
    pub state: Gravity,
    pub reason: Option<String>,
    pub mend: Option<String>,
}

impl Verdict {
    /// Of problems whose worst stands first.
    pub(super) fn of(problems: &[Problem]) -> Self {
        let worst = problems.first();
        Self {
            state: worst.map_or(Gravity::Healthy, |worst| worst.gravity),
            reason: worst.map(|worst| worst.problem.clone()),
            mend: worst.map(|worst| worst.mend.clone()),
        }
    }
}

/// A forecast beyond this is no reason to get up.
const LOST_SOON_SECONDS: u64 = 4 * 3600;

/// All of them; of the same gravity, what comes first on a change's way comes first.
pub(super) fn problems(seen: &Observation, report: &Report, max_lag_seconds: u64) -> Vec<Problem> {
    let mut problems = Vec::new();
    silent_parts(seen, &mut problems);
    capture_paused(report, &mut problems);
    if let Ok(source) = &seen.source {
        slot(
            source.standing.slot.as_ref(),
            report.source.lost_in_seconds,
            &mut problems,
        );
    }
    services(report, &mut problems);
    nothing_yet(seen, &mut problems);
    if let Some(operations) = &report.operations {
        wanted(operations, &mut problems);
    }
    late(report, max_lag_seconds, &mut problems);
    if let Some(operations) = &report.operations {
        set_aside(operations, &mut problems);
    }
    clocks(&report.clocks, &mut problems);
    // The sort is stable.
    problems.sort_by_key(|problem| std::cmp::Reverse(problem.gravity));
    problems
}

fn stopped(problem: impl Into<String>, mend: impl Into<String>) -> Problem {
    Problem {
        gravity: Gravity::Stopped,
        problem: problem.into(),
        mend: mend.into(),
    }
}

fn degraded(problem: impl Into<String>, mend: impl Into<String>) -> Problem {
    Problem {
        gravity: Gravity::Degraded,
        ..stopped(problem, mend)
    }
}

fn silent_parts(seen: &Observation, problems: &mut Vec<Problem>) {
    let parts = [
        ("source", seen.source.as_ref().err()),
        ("kafka", seen.topics.as_ref().err()),
        ("target", seen.target.as_ref().err()),
    ];
    for (flag, error) in parts {
        let Some(error) = error else { continue };
        let mend = format!("bring it back, or correct --{flag}; `lockstep check` says more");
        problems.push(stopped(format!("{error:#}"), mend));
    }
}

fn capture_paused(report: &Report, problems: &mut Vec<Problem>) {
    let told = report.capture.metrics.as_ref();
    if told.and_then(|page| page.sum("cdc_paused")) == Some(1.0) {
        problems.push(stopped(
            "capture is paused by an operator, and the source keeps its WAL",
            "`lockstep resume capture`",
        ));
    }
}

fn slot(slot: Option<&Slot>, lost_in: Option<u64>, problems: &mut Vec<Problem>) {
    let Some(slot) = slot else {
        let mend = "start `lockstep cdc`, which makes it";
        problems.push(stopped(
            "the slot does not exist: capture has not started yet",
            mend,
        ));
        return;
    };
    let name = &slot.name;
    let why = slot.invalidation_reason.as_deref().unwrap_or("wal_removed");
    match slot.wal_status.as_deref() {
        Some("lost") => problems.push(stopped(
            format!("slot {name} has lost WAL that it needs ({why})"),
            "only a new snapshot helps: docs/runbooks/slot-lost.md",
        )),
        Some("unreserved") => problems.push(degraded(
            format!("slot {name} is about to lose WAL that it needs"),
            "let capture catch up, or raise max_slot_wal_keep_size on the source",
        )),
        _ if !slot.active => problems.push(stopped(
            format!("slot {name} has no reader: capture does not run"),
            "start `lockstep cdc`, or `lockstep resume capture` when it is paused; until then \
             the source keeps its WAL",
        )),
        _ => {}
    }
    if let Some(seconds) = lost_in
        && seconds < LOST_SOON_SECONDS
    {
        problems.push(degraded(
            format!("slot {name} will be lost in {seconds} s at the present rate"),
            "let capture catch up, or raise max_slot_wal_keep_size on the source",
        ));
    }
}

fn services(report: &Report, problems: &mut Vec<Problem>) {
    let services = [
        ("capture", "cdc", &report.capture),
        ("apply", "applier", &report.apply),
    ];
    for (stage, command, service) in services {
        if service.is_named && service.answers != Some(true) {
            problems.push(degraded(
                format!("{stage} does not answer at its metrics port"),
                format!("see whether `lockstep {command}` runs, and what its log ends with"),
            ));
        }
        for (dependency, reason) in &service.failing {
            problems.push(degraded(
                format!("{stage} waits for {dependency}: {reason}"),
                format!("bring {dependency} back; {stage} goes on by itself"),
            ));
        }
    }
}

fn nothing_yet(seen: &Observation, problems: &mut Vec<Problem>) {
    if matches!(&seen.topics, Ok(None)) {
        problems.push(stopped(
            "capture has published nothing yet",
            "wait for its first snapshot, or see its log",
        ));
    }
    if matches!(&seen.target, Ok(target) if target.applied.is_none()) {
        problems.push(stopped(
            "apply has applied nothing yet",
            "start `lockstep applier`, or see its log",
        ));
    }
}

fn wanted(operations: &Operations, problems: &mut Vec<Problem>) {
    if operations.apply_paused {
        problems.push(stopped(
            "apply is paused by an operator",
            "`lockstep resume apply`",
        ));
    }
}

fn late(report: &Report, max_lag_seconds: u64, problems: &mut Vec<Problem>) {
    let stages = [("capture", report.capture_lag), ("apply", report.apply_lag)];
    for (stage, lag) in stages {
        if let Some(seconds) = lag.seconds
            && seconds > max_lag_seconds
        {
            problems.push(degraded(
                format!("{stage} is {seconds} s behind"),
                "`lockstep status --watch` shows whether it catches up: \
                 docs/runbooks/replication-lag.md",
            ));
        }
    }
}

fn set_aside(operations: &Operations, problems: &mut Vec<Problem>) {
    for held in &operations.held_tables {
        let table = &held.table;
        problems.push(degraded(
            format!("table {table} is held by {}: {}", held.held_by, held.reason),
            format!("mend the cause, then `lockstep resume --table {table}`"),
        ));
    }
    for index in &operations.indexes {
        if let Some(error) = &index.error {
            problems.push(degraded(
                format!(
                    "index {} of table {} could not be built: {error}",
                    index.index, index.table
                ),
                "mend the cause: it is tried again by itself",
            ));
        }
    }
    let letters = &operations.dead_letters;
    if letters.open > 0 {
        let tables: Vec<&str> = letters.by_table.iter().map(|(it, _)| it.as_str()).collect();
        problems.push(degraded(
            format!("{} dead letters in {}", letters.open, tables.join(", ")),
            "`lockstep dead-letters list`, then redrive or discard them",
        ));
    }
    for (table, letter) in &letters.undecodable {
        problems.push(degraded(
            format!(
                "all changes of table {table} wait: the record of dead letter {letter} could not \
                 be decoded"
            ),
            format!(
                "mend what `lockstep dead-letters show {letter}` says, or discard it; then \
                 `lockstep dead-letters redrive --all`"
            ),
        ));
    }
    if let Some(verified) = &operations.last_verification
        && !verified.equal
        && verified.rows_repaired < verified.rows_different
    {
        problems.push(degraded(
            format!(
                "verification {} found {} different rows at {}",
                verified.id, verified.rows_different, verified.commit_lsn
            ),
            "`lockstep verify` shows which, `lockstep verify --repair` mends them",
        ));
    }
}

/// Beyond this, times of two machines are not to be compared.
const SKEW_MAX_SECONDS: f64 = 2.0;

fn clocks(clocks: &Clocks, problems: &mut Vec<Problem>) {
    let sides = [
        ("source", clocks.source_ahead_seconds),
        ("target", clocks.target_ahead_seconds),
    ];
    for (side, ahead) in sides {
        let Some(ahead) = ahead.filter(|ahead| ahead.abs() > SKEW_MAX_SECONDS) else {
            continue;
        };
        let direction = if ahead > 0.0 { "ahead of" } else { "behind" };
        problems.push(degraded(
            format!(
                "the {side}'s clock is {:.1} s {direction} this machine's",
                ahead.abs()
            ),
            "synchronise the clocks; order does not depend on them, but shown times do",
        ));
    }
}
