use std::collections::BTreeMap;

use anyhow::anyhow;
use cdc::standing::Standing;
use change::commit::CommitKind;

use super::super::observation::{Applied, Ready, Source};
use super::super::operations::{DeadLetters, HeldTable, Verification, WaitingIndex};
use super::super::problem::Gravity;
use super::super::stage::StageName;
use super::*;

const MAX_LAG: Duration = Duration::from_secs(10);

fn source(slot: Option<Slot>) -> Source {
    let standing = Standing {
        lsn: Lsn::new(1000),
        now: 5_000_000,
        slot,
    };
    Source {
        standing,
        ahead: 0.0,
    }
}

fn slot() -> Slot {
    Slot {
        name: "lockstep".into(),
        active: true,
        sent_lsn: Some(Lsn::new(1000)),
        confirmed_flush_lsn: Some(Lsn::new(901)),
        retained_bytes: Some(200),
        wal_status: Some("reserved".into()),
        ..Slot::default()
    }
}

fn last(commit_time: i64) -> Option<CommitRecord> {
    Some(CommitRecord {
        pipeline: "lockstep".into(),
        epoch: 2,
        system_id: "7".into(),
        timeline: 1,
        slot: "lockstep".into(),
        previous_commit_lsn: Lsn::ZERO,
        commit_lsn: Lsn::new(900),
        commit_time,
        kind: CommitKind::Stream,
        transactions: Vec::new(),
        partitions: Vec::new(),
        sequences: Vec::new(),
    })
}

fn target(lsn: u64) -> Target {
    Target {
        applied: Some(Applied {
            commit_lsn: Lsn::new(lsn),
            epoch: 2,
            phase: Phase::Streaming,
            commit_time: 2_000_000,
        }),
        operations: Some(Operations::default()),
        ahead: 0.0,
    }
}

fn well() -> Observation {
    Observation {
        source: Ok(source(Some(slot()))),
        topics: Ok(last(4_000_000)),
        target: Ok(target(900)),
        capture: Answer::default(),
        apply: Answer::default(),
        retention_ms: vec![("lockstep.a".into(), 7_200_000), ("lockstep.b".into(), -1)],
    }
}

fn report(seen: &Observation) -> Report {
    let (trail, mut looks) = (Trail::default(), Looks::default());
    Report::new(seen, &trail, &mut looks, None, MAX_LAG)
}

#[test]
fn what_is_well_is_said_in_one_word() {
    let text = report(&well()).to_string();
    assert!(text.starts_with("healthy, streaming\n"), "{text}");
    for line in [
        "decoded       0/3E7              0 B, 0 s",
        "acknowledged  0/384              99 B, 1 s",
        "capture       99 B, 1 s",
        "apply         0 B, 0 s",
        "commit to visible unknown",
        "topics        epoch 2, keep 2 h",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn unknown_is_never_zero() {
    let seen = Observation {
        source: Err(anyhow!("no source")),
        topics: Err(anyhow!("no Kafka")),
        target: Err(anyhow!("no target")),
        capture: Answer::default(),
        apply: Answer::default(),
        retention_ms: Vec::new(),
    };
    let report = report(&seen);
    assert_eq!(report.verdict.state, Gravity::Stopped);
    assert_eq!(report.verdict.reason.as_deref(), Some("no source"));
    let json = serde_json::to_value(&report).unwrap();
    for pointer in [
        "/phase",
        "/source/lsn",
        "/source/slot",
        "/source/lost_in_seconds",
        "/topics/epoch",
        "/topics/retention_ms",
        "/target/commit_lsn",
        "/capture_lag/bytes",
        "/apply_lag/seconds",
        "/stages/0/lsn",
        "/stages/5/behind/bytes",
        "/stages/1/trend",
        "/commit_to_visible",
        "/capture/answers",
        "/clocks/source_ahead_seconds",
        "/operations",
    ] {
        assert!(json.pointer(pointer).unwrap().is_null(), "{pointer}");
    }
    let text = report.to_string();
    assert!(!text.contains('0'), "{text}");
}

#[track_caller]
fn problem(seen: &Observation, gravity: Gravity, expected: &str) {
    let report = report(seen);
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
    let problem = &report.problems[0];
    assert!(problem.problem.contains(expected), "{problem:?}");
    assert_eq!(problem.gravity, gravity);
    assert_eq!(report.verdict.reason.as_ref(), Some(&problem.problem));
    assert!(!report.is_healthy());
}

#[test]
fn what_a_slot_lacks_is_named() {
    let with = |slot: Option<Slot>| Observation {
        source: Ok(source(slot)),
        ..well()
    };
    problem(&with(None), Gravity::Stopped, "slot does not exist");
    let changed = |change: &dyn Fn(&mut Slot)| {
        let mut slot = slot();
        change(&mut slot);
        with(Some(slot))
    };
    let idle = changed(&|slot| slot.active = false);
    problem(&idle, Gravity::Stopped, "no reader");
    let lost = changed(&|slot| {
        slot.wal_status = Some("lost".into());
        slot.invalidation_reason = Some("idle_timeout".into());
    });
    problem(&lost, Gravity::Stopped, "(idle_timeout)");
    let unreserved = changed(&|slot| slot.wal_status = Some("unreserved".into()));
    problem(&unreserved, Gravity::Degraded, "about to lose");
}

#[test]
fn what_is_late_or_away_is_named() {
    let late = Observation {
        topics: Ok(last(-20_000_000)),
        ..well()
    };
    problem(&late, Gravity::Degraded, "capture is 25 s");
    let nothing = Observation {
        target: Ok(Target {
            applied: None,
            ..target(900)
        }),
        ..well()
    };
    problem(&nothing, Gravity::Stopped, "applied nothing");
    let silent = Observation {
        apply: Answer {
            is_named: true,
            ..Answer::default()
        },
        ..well()
    };
    problem(&silent, Gravity::Degraded, "apply does not answer");
    let checks = BTreeMap::from([("kafka".to_owned(), "no broker".to_owned())]);
    let waits = Observation {
        capture: Answer {
            ready: Some(Ready { checks }),
            ..Answer::default()
        },
        ..well()
    };
    problem(&waits, Gravity::Degraded, "waits for kafka: no broker");
    let paused = Observation {
        capture: Answer {
            metrics: Some(Exposition::parse("cdc_paused 1\n")),
            ..Answer::default()
        },
        ..well()
    };
    problem(&paused, Gravity::Stopped, "capture is paused");
    let skewed = Observation {
        target: Ok(Target {
            ahead: -3.25,
            ..target(900)
        }),
        ..well()
    };
    problem(
        &skewed,
        Gravity::Degraded,
        "target's clock is 3.2 s behind this",
    );
}

fn operated(operations: Operations) -> Observation {
    Observation {
        target: Ok(Target {
            operations: Some(operations),
            ..target(900)
        }),
        ..well()
    }
}

#[test]
fn what_is_set_aside_is_named_and_not_visible() {
    let paused = operated(Operations {
        apply_paused: true,
        ..Operations::default()
    });
    problem(&paused, Gravity::Stopped, "paused");
    let held = operated(Operations {
        held_tables: vec![HeldTable {
            table: "public.a".into(),
            commit_lsn: Lsn::new(850),
            cause: "operator".into(),
            reason: "a migration".into(),
            held_by: "ann".into(),
            held_seconds: 9,
        }],
        ..Operations::default()
    });
    problem(
        &held,
        Gravity::Degraded,
        "public.a is held by ann: a migration",
    );
    let refused = operated(Operations {
        indexes: vec![WaitingIndex {
            table: "public.a".into(),
            index: "a_by_b".into(),
            waiting_seconds: 9,
            attempts: 2,
            error: Some("SQLSTATE 53100".into()),
        }],
        ..Operations::default()
    });
    let said = "index a_by_b of table public.a could not be built: SQLSTATE 53100";
    problem(&refused, Gravity::Degraded, said);
    let stages = report(&held).stages;
    assert_eq!(stages[5].stage, StageName::Visible);
    assert_eq!(stages[4].lsn, Some(Lsn::new(900)));
    assert_eq!(stages[5].lsn, Some(Lsn::new(850)));
    let letters = operated(Operations {
        dead_letters: DeadLetters {
            open: 2,
            first_commit_lsn: Some(Lsn::new(800)),
            by_table: vec![("public.a".into(), 2)],
            undecodable: Vec::new(),
        },
        ..Operations::default()
    });
    problem(&letters, Gravity::Degraded, "2 dead letters in public.a");
    assert_eq!(report(&letters).stages[5].lsn, Some(Lsn::new(799)));
    let whole = operated(Operations {
        dead_letters: DeadLetters {
            undecodable: vec![("public.a".into(), 7)],
            ..DeadLetters::default()
        },
        ..Operations::default()
    });
    let said = "all changes of table public.a wait: the record of dead letter 7";
    problem(&whole, Gravity::Degraded, said);
}

#[test]
fn a_difference_counts_until_it_is_repaired() {
    let verified = |repaired| {
        operated(Operations {
            last_verification: Some(Verification {
                id: 4,
                commit_lsn: Lsn::new(700),
                equal: false,
                rows_compared: 9,
                rows_different: 2,
                rows_repaired: repaired,
                age_seconds: 1,
            }),
            ..Operations::default()
        })
    };
    problem(&verified(0), Gravity::Degraded, "2 different rows at 0/2BC");
    assert!(report(&verified(2)).is_healthy());
}

#[test]
fn the_worst_comes_first() {
    let seen = Observation {
        source: Ok(source(None)),
        topics: Ok(last(-20_000_000)),
        ..well()
    };
    let report = report(&seen);
    assert_eq!(report.problems.len(), 2);
    assert_eq!(report.verdict.state, Gravity::Stopped);
    assert!(report.problems[0].problem.contains("slot"));
}

#[test]
fn apply_that_is_behind_is_as_old_as_what_it_shows() {
    let seen = Observation {
        target: Ok(target(850)),
        ..well()
    };
    let expected = Lag {
        bytes: Some(50),
        seconds: Some(3),
    };
    assert_eq!(report(&seen).apply_lag, expected);
}
