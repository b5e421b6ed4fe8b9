use std::sync::Arc;

use change::envelope::value_schema;
use change::framing::SchemaId;
use change::relation::{Column, Key, PgType, Relation};
use change::value::Mapping;
use change::{Position, TableName};
use proptest::prelude::*;

use super::*;
use crate::consume::{Link, Source};
use crate::progress::Phase;

fn plan() -> Arc<Plan> {
    let column = Column {
        name: "id".to_owned(),
        in_key: true,
        mapping: Mapping::parse("text", 0).unwrap(),
        pg_type: PgType {
            name: "text".to_owned(),
            modifier: -1,
            enum_labels: Vec::new(),
        },
        not_null: true,
        default: None,
        generated: false,
    };
    let relation = Relation {
        table: TableName::new("public", "a"),
        key: Key::Columns,
        columns: vec![column],
    };
    let schema = value_schema(&relation, "p");
    Arc::new(Plan::compile(SchemaId(1), "p.public.a", &schema).unwrap())
}

fn mark(commit_lsn: u64, commits_offset: i64) -> Mark {
    let source = Source {
        system_id: "7".to_owned(),
        timeline: 1,
        slot: "s".to_owned(),
    };
    Mark {
        link: Link {
            epoch: 1,
            commit_lsn: Lsn::new(commit_lsn),
            source: Arc::new(source),
        },
        applied: Lsn::new(commit_lsn),
        commits_offset,
        phase: Phase::Streaming,
        commit_time: 0,
    }
}

/// Commits records of transactions of so many changes, the first of which commits at 110, the next
/// at 120 and so on.
fn portion(records: &[Vec<u64>]) -> Portion {
    let plan = plan();
    let mut portion = Portion::default();
    let mut commit_lsn = 100;
    for (offset, transactions) in (1..).zip(records) {
        for changes in transactions {
            commit_lsn += 10;
            for ordinal in 0..*changes {
                portion.push(Change {
                    position: Position {
                        commit_lsn: Lsn::new(commit_lsn),
                        ordinal,
                    },
                    plan: Arc::clone(&plan),
                    partition: 0,
                    offset: 0,
                    action: Action::Truncate,
                });
            }
        }
        portion.end(mark(commit_lsn, offset), transactions.len(), Vec::new());
    }
    portion
}

fn positions(portion: &Portion) -> Vec<Position> {
    portion.changes.iter().map(|it| it.position).collect()
}

fn borders(portion: &Portion) -> Vec<(usize, Mark)> {
    let borders = portion.borders.iter();
    borders.map(|it| (it.changes, it.mark.clone())).collect()
}

#[test]
fn a_cut_inside_a_commits_record_says_how_far_and_after_which() {
    let mut portion = portion(&[vec![1, 1], vec![2, 1]]);
    let rest = portion.cut(Lsn::new(140), &mark(100, 0));
    let expected = Mark {
        applied: Lsn::new(139),
        ..mark(120, 1)
    };
    assert_eq!(portion.mark(), Some(&expected));
    assert_eq!(portion.changes.len(), 4);
    assert_eq!(rest.mark(), Some(&mark(140, 2)));
    assert_eq!(rest.changes.len(), 1);
}

proptest! {
    #[test]
    fn a_cut_takes_what_committed_before_and_can_be_taken_back(
        records in prop::collection::vec(prop::collection::vec(0_u64..4, 0..4), 1..5),
        lsn in 101_u64..240,
    ) {
        let whole = portion(&records);
        let mut first = portion(&records);
        prop_assume!(first.reaches(Lsn::new(lsn)));
        let rest = first.cut(Lsn::new(lsn), &mark(100, 0));
        prop_assert!(first.changes.iter().all(|it| it.position.commit_lsn < Lsn::new(lsn)));
        prop_assert!(rest.changes.iter().all(|it| it.position.commit_lsn >= Lsn::new(lsn)));
        prop_assert_eq!(first.mark().map(|mark| mark.applied), Some(Lsn::new(lsn - 1)));
        prop_assert_eq!(rest.mark(), whole.mark());
        prop_assert_eq!(first.bytes + rest.bytes, whole.bytes);
        first.join(rest);
        prop_assert_eq!(positions(&first), positions(&whole));
        prop_assert_eq!(borders(&first), borders(&whole));
        prop_assert_eq!(first.bytes, whole.bytes);
    }
}
