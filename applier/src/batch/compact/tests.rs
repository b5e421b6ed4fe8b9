use std::collections::BTreeMap;

use change::envelope::value_schema;
use change::framing::SchemaId;
use change::relation::{Column, Key, PgType, Relation};
use change::value::Mapping;
use change::{Lsn, Position};
use proptest::prelude::*;

use super::*;
use crate::decode::{Fields, Value};

/// A key and two more columns, of which an update may leave any unchanged.
fn plan(table: &str, key: Key) -> Arc<Plan> {
    let column = |name: &str, in_key| Column {
        name: name.to_owned(),
        in_key,
        mapping: Mapping::parse("text", 0).unwrap(),
        pg_type: PgType {
            name: "text".to_owned(),
            modifier: -1,
            enum_labels: Vec::new(),
        },
        not_null: false,
        default: None,
        generated: false,
    };
    let all = key == Key::WholeRow;
    let columns = vec![column("id", true), column("a", all), column("b", all)];
    let relation = Relation {
        table: TableName::new("public", table),
        key,
        columns,
    };
    let schema = value_schema(&relation, "p");
    let id = u32::try_from(table.len()).unwrap();
    Arc::new(Plan::compile(SchemaId(id), table, &schema).unwrap())
}

fn row(values: &[Option<u8>]) -> Row {
    let mut fields = Fields::default();
    for value in values {
        match value {
            Some(byte) => fields.push(Value::Image(&[*byte])),
            None => fields.push(Value::Unchanged),
        }
    }
    fields.row()
}

fn changes(plans: &[Arc<Plan>], actions: Vec<(usize, Action)>) -> Vec<Change> {
    let change = |(ordinal, (table, action)): (u64, (usize, Action))| Change {
        position: Position {
            commit_lsn: Lsn::new(1),
            ordinal,
        },
        plan: Arc::clone(&plans[table]),
        partition: 0,
        offset: 0,
        action,
    };
    (0..).zip(actions).map(change).collect()
}

/// What a table holds, by key.
type Store = BTreeMap<Vec<u8>, Row>;

fn key(plan: &Plan, row: &Row) -> Vec<u8> {
    plan.key_of(row).unwrap().fields().to_vec()
}

/// What Postgres would do, one change after the other.
fn apply_naively(stores: &mut BTreeMap<String, Store>, change: &Change) {
    let plan = &change.plan;
    let store = stores.entry(plan.relation.table.name.clone()).or_default();
    match &change.action {
        Action::Insert(row) => {
            store.insert(key(plan, row), row.clone());
        }
        Action::Update {
            row,
            moved_from: Some(old),
        } => move_row(store, plan, row, old),
        Action::Update { row, .. } => write(store, plan, row),
        Action::Delete(key) => {
            store.remove(key.fields());
        }
        Action::Truncate => store.clear(),
        Action::Unreadable(_) => unreachable!("none is made here"),
    }
}

fn write(store: &mut Store, plan: &Plan, row: &Row) {
    let key = key(plan, row);
    match store.get(&key) {
        Some(old) => drop(store.insert(key, row.over(old))),
        None if row.has_unchanged() => {}
        None => drop(store.insert(key, row.clone())),
    }
}

fn move_row(store: &mut Store, plan: &Plan, row: &Row, old: &Row) {
    if let Some(old) = store.remove(old.fields()) {
        store.insert(key(plan, row), row.over(&old));
    }
}

fn apply_stages(stores: &mut BTreeMap<String, Store>, stages: &[Stage<'_>]) {
    for stage in stages {
        match stage {
            Stage::Truncate(run) => {
                for change in run {
                    apply_naively(stores, change);
                }
            }
            Stage::Move {
                change,
                row,
                old_key,
            } => {
                let name = change.plan.relation.table.name.clone();
                move_row(stores.entry(name).or_default(), &change.plan, row, old_key);
            }
            Stage::Rows(tables) => {
                for table in tables {
                    let name = table.plan.relation.table.name.clone();
                    let store = stores.entry(name).or_default();
                    apply_lists(store, table);
                }
            }
        }
    }
}

fn apply_lists(store: &mut Store, table: &TableStage<'_>) {
    for done in &table.deletes {
        store.remove(done.row.fields());
    }
    for done in &table.patches {
        // Two patches may bring all columns between them, and still make no row.
        if store.contains_key(&key(table.plan, &done.row)) {
            write(store, table.plan, &done.row);
        }
    }
    for done in table.upserts.iter().chain(&table.inserts) {
        assert!(!done.row.has_unchanged());
        write(store, table.plan, &done.row);
    }
}

fn action() -> impl Strategy<Value = Action> {
    let key = 0_u8..5;
    let value = prop::option::weighted(0.7, 0_u8..9);
    let full = (key.clone(), 0_u8..9, 0_u8..9);
    let full = full.prop_map(|(id, a, b)| row(&[Some(id), Some(a), Some(b)]));
    let part = (key.clone(), value.clone(), value).prop_map(|(id, a, b)| row(&[Some(id), a, b]));
    let key = key.prop_map(|id| row(&[Some(id)]));
    prop_oneof![
        4 => full.prop_map(Action::Insert),
        6 => part.clone().prop_map(|row| Action::Update { row, moved_from: None }),
        3 => key.clone().prop_map(Action::Delete),
        1 => (part, key).prop_map(|(row, old)| Action::Update { row, moved_from: Some(old) }),
        1 => Just(Action::Truncate),
    ]
}

proptest! {
    #[test]
    fn the_result_is_that_of_one_change_after_the_other(
        before in prop::collection::vec((0_usize..2, action()), 0..8),
        actions in prop::collection::vec((0_usize..2, action()), 0..40),
    ) {
        let plans = [plan("t", Key::Columns), plan("tt", Key::Columns)];
        let mut expected = BTreeMap::new();
        for change in changes(&plans, before) {
            apply_naively(&mut expected, &change);
        }
        let start = expected.clone();
        let changes = changes(&plans, actions);
        for change in &changes {
            apply_naively(&mut expected, change);
        }
        for form in [Form::Compacted, Form::Upserted, Form::Stepwise] {
            let mut found = start.clone();
            apply_stages(&mut found, &stages(&changes, form));
            prop_assert!(equal(&found, &expected), "{form:?}");
            // A suffix that is applied again ends in the same state, as long as no row moved.
            let moves = |c: &Change| matches!(c.action, Action::Update { moved_from: Some(_), .. });
            let unchanged = |c: &Change| match &c.action {
                Action::Update { row, .. } => row.has_unchanged(),
                _ => false,
            };
            if !changes.iter().any(|change| moves(change) || unchanged(change)) {
                apply_stages(&mut found, &stages(&changes[changes.len() / 2..], form));
                prop_assert!(equal(&found, &expected), "again, {form:?}");
            }
        }
    }

    #[test]
    fn of_equal_rows_the_number_counts(
        inserts in prop::collection::vec(0_u8..4, 0..20), keep in prop::collection::vec(any::<bool>(), 20)
    ) {
        let plans = [plan("t", Key::WholeRow)];
        let row_of = |value: u8| row(&[Some(value), Some(0), Some(0)]);
        let mut actions = Vec::new();
        let mut expected: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        for (value, keep) in inserts.iter().zip(&keep) {
            actions.push((0, Action::Insert(row_of(*value))));
            if *keep {
                *expected.entry(row_of(*value).fields().to_vec()).or_default() += 1;
            } else {
                actions.push((0, Action::Delete(row_of(*value))));
            }
        }
        let changes = changes(&plans, actions);
        let stages = stages(&changes, Form::Compacted);
        let mut found = BTreeMap::new();
        for stage in &stages {
            let Stage::Rows(tables) = stage else { panic!("{stage:?}") };
            prop_assert!(tables[0].deletes.is_empty());
            for done in &tables[0].inserts {
                *found.entry(done.row.fields().to_vec()).or_default() += done.times;
            }
        }
        prop_assert_eq!(found, expected);
    }
}

fn equal(a: &BTreeMap<String, Store>, b: &BTreeMap<String, Store>) -> bool {
    let rows = |stores: &BTreeMap<String, Store>| -> Vec<(String, Vec<u8>, Vec<u8>)> {
        let stores = stores.iter().flat_map(|(name, store)| {
            let row =
                |(key, row): (&Vec<u8>, &Row)| (name.clone(), key.clone(), row.fields().to_vec());
            store.iter().map(row).collect::<Vec<_>>()
        });
        stores.collect()
    };
    rows(a) == rows(b)
}

#[test]
fn new_rows_are_told_from_rows_that_may_be_there() {
    let plans = [plan("t", Key::Columns)];
    let full = |id, a| row(&[Some(id), Some(a), Some(0)]);
    let update = |row| Action::Update {
        row,
        moved_from: None,
    };
    let changes = changes(
        &plans,
        vec![
            (0, Action::Insert(full(1, 1))),
            (0, update(row(&[Some(1), Some(2), None]))),
            (0, update(full(2, 1))),
            (0, Action::Delete(row(&[Some(3)]))),
            (0, Action::Insert(full(3, 1))),
            (0, update(row(&[Some(4), None, Some(1)]))),
            (0, Action::Delete(row(&[Some(5)]))),
        ],
    );
    let stages = stages(&changes, Form::Compacted);
    let [Stage::Rows(tables)] = stages.as_slice() else {
        panic!("{stages:?}");
    };
    let table = &tables[0];
    assert!(*table.inserts[0].row == full(1, 2));
    assert_eq!(table.inserts.len(), 1);
    assert_eq!(table.upserts.len(), 2);
    assert_eq!(table.patches.len(), 1);
    assert_eq!(table.deletes.len(), 1);
}

#[test]
fn one_transactions_truncates_that_stand_together_are_one() {
    let plans = [plan("t", Key::Columns), plan("tt", Key::Columns)];
    let insert = || Action::Insert(row(&[Some(1), Some(1), Some(0)]));
    let mut changes = changes(
        &plans,
        vec![
            (0, Action::Truncate),
            (1, Action::Truncate),
            (0, insert()),
            (0, Action::Truncate),
            (1, Action::Truncate),
        ],
    );
    changes[4].position.commit_lsn = Lsn::new(2);
    let lengths = stages(&changes, Form::Stepwise)
        .iter()
        .map(|stage| match stage {
            Stage::Truncate(run) => run.len(),
            _ => 0,
        })
        .collect::<Vec<_>>();
    assert_eq!(lengths, [2, 0, 1, 1]);
}
