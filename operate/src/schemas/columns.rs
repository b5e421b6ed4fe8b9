//! What changed between two schemas, in words, column by column.

use change::envelope::{key_columns, relation_of};
use change::relation::{Column, Key};
use serde_json::Value;

/// What makes `new` another schema than `old`; empty when they say the same. A column that is gone
/// and one that is new are never taken for one that was renamed: no schema tells that.
pub fn changes(old: &str, new: &str) -> Vec<String> {
    match (shape(old), shape(new)) {
        (Some(old), Some(new)) => of_tables(&old, &new),
        _ => of_records(old, new),
    }
}

/// A table as one of its schemas has it.
struct Shape {
    whole_row: bool,
    columns: Vec<Column>,
}

fn shape(schema: &str) -> Option<Shape> {
    if let Ok(relation) = relation_of(schema) {
        return Some(Shape {
            whole_row: relation.key == Key::WholeRow,
            columns: relation.columns,
        });
    }
    let columns = key_columns(schema).ok()?.columns;
    Some(Shape {
        whole_row: false,
        columns: columns.into_iter().map(|(column, _)| column).collect(),
    })
}

fn of_tables(old: &Shape, new: &Shape) -> Vec<String> {
    let mut changes = Vec::new();
    let find = |shape: &Shape, name: &str| {
        let found = shape.columns.iter().find(|column| column.name == name);
        found.cloned()
    };
    for column in &new.columns {
        match find(old, &column.name) {
            None => changes.push(format!("added column {}", described(column))),
            Some(before) => of_column(&before, column, &mut changes),
        }
    }
    for column in &old.columns {
        if find(new, &column.name).is_none() {
            changes.push(format!("removed column {}", described(column)));
        }
    }
    if changes.is_empty() && names(old) != names(new) {
        changes.push("the columns are in another order".to_owned());
    }
    match (old.whole_row, new.whole_row) {
        (false, true) => changes.push("the table has no key any more".to_owned()),
        (true, false) => changes.push("the table has a key now".to_owned()),
        (true, true) | (false, false) => {}
    }
    changes
}

fn names(shape: &Shape) -> Vec<&str> {
    let columns = shape.columns.iter();
    columns.map(|column| column.name.as_str()).collect()
}

/// `price nullable numeric(10,2)`.
fn described(column: &Column) -> String {
    let nullable = match (column.in_key, column.not_null) {
        (true, _) => "key ",
        (false, true) => "not null ",
        (false, false) => "nullable ",
    };
    format!("{} {nullable}{}", column.name, column.pg_type.name)
}

fn of_column(old: &Column, new: &Column, changes: &mut Vec<String>) {
    let name = &new.name;
    if old.pg_type.name != new.pg_type.name {
        let (from, to) = (&old.pg_type.name, &new.pg_type.name);
        changes.push(format!("column {name}: type changed from {from} to {to}"));
    } else if old.mapping != new.mapping {
        let (from, to) = (old.mapping, new.mapping);
        changes.push(format!(
            "column {name}: stands as {to}, no longer as {from}"
        ));
    }
    match (old.not_null, new.not_null) {
        (true, false) => changes.push(format!("column {name}: may be null now")),
        (false, true) => changes.push(format!("column {name}: may not be null any more")),
        (true, true) | (false, false) => {}
    }
    match (old.in_key, new.in_key) {
        (true, false) => changes.push(format!("column {name}: left the key")),
        (false, true) => changes.push(format!("column {name}: joined the key")),
        (true, true) | (false, false) => {}
    }
    if old.default != new.default {
        changes.push(match &new.default {
            Some(default) => format!("column {name}: default is {default} now"),
            None => format!("column {name}: has no default any more"),
        });
    }
    of_labels(
        name,
        &old.pg_type.enum_labels,
        &new.pg_type.enum_labels,
        changes,
    );
}

fn of_labels(name: &str, old: &[String], new: &[String], changes: &mut Vec<String>) {
    for label in new.iter().filter(|label| !old.contains(label)) {
        changes.push(format!("column {name}: its enum has the label {label} now"));
    }
    for label in old.iter().filter(|label| !new.contains(label)) {
        changes.push(format!("column {name}: its enum lost the label {label}"));
    }
}

/// Of schemas that capture did not write: the fields of their records.
fn of_records(old: &str, new: &str) -> Vec<String> {
    let fields = |schema: &str| {
        let schema: Value = serde_json::from_str(schema).unwrap_or_default();
        let fields = schema["fields"].as_array().cloned().unwrap_or_default();
        let field = |field: Value| {
            let name = field["name"].as_str()?.to_owned();
            Some((name, field["type"].to_string()))
        };
        fields.into_iter().filter_map(field).collect::<Vec<_>>()
    };
    let (old, new) = (fields(old), fields(new));
    let mut changes = Vec::new();
    for (name, to) in &new {
        match old.iter().find(|(known, _)| known == name) {
            None => changes.push(format!("added field {name} {to}")),
            Some((_, from)) if from != to => {
                changes.push(format!("field {name}: type changed from {from} to {to}"));
            }
            Some(_) => {}
        }
    }
    for (name, from) in &old {
        if new.iter().all(|(known, _)| known != name) {
            changes.push(format!("removed field {name} {from}"));
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use change::TableName;
    use change::envelope::value_schema;
    use change::relation::{PgType, Relation};
    use change::value::Mapping;

    use super::*;

    fn schema(columns: &[(&str, &str, &str)]) -> String {
        let column = |(name, type_name, more): &(&str, &str, &str)| Column {
            name: (*name).to_owned(),
            in_key: more.contains("key"),
            mapping: Mapping::parse(type_name, 0).unwrap(),
            pg_type: PgType {
                name: (*type_name).to_owned(),
                modifier: -1,
                enum_labels: Vec::new(),
            },
            not_null: more.contains("not null"),
            default: more.contains("default").then(|| "0".to_owned()),
            generated: false,
        };
        let relation = Relation {
            table: TableName::new("public", "t"),
            key: Key::Columns,
            columns: columns.iter().map(column).collect(),
        };
        value_schema(&relation, "p")
    }

    #[test]
    fn each_kind_of_change_has_its_words() {
        let old = schema(&[
            ("id", "int4", "key"),
            ("a", "text", ""),
            ("b", "int4", "default"),
        ]);
        let check = |columns: &[(&str, &str, &str)], expected: &[&str]| {
            assert_eq!(changes(&old, &schema(columns)), expected);
        };
        let (id, a, b) = (
            ("id", "int4", "key"),
            ("a", "text", ""),
            ("b", "int4", "default"),
        );
        check(&[id, a, b], &[]);
        check(
            &[id, a, b, ("x", "int4", "")],
            &["added column x nullable int4"],
        );
        check(&[id, a], &["removed column b nullable int4"]);
        check(
            &[id, ("a", "bytea", ""), b],
            &["column a: type changed from text to bytea"],
        );
        check(
            &[id, ("c", "text", ""), b],
            &[
                "added column c nullable text",
                "removed column a nullable text",
            ],
        );
        check(
            &[id, ("a", "text", "not null default"), ("b", "int4", "")],
            &[
                "column a: may not be null any more",
                "column a: default is 0 now",
                "column b: has no default any more",
            ],
        );
        check(&[id, b, a], &["the columns are in another order"]);
        check(
            &[id, ("a", "text", "key"), b],
            &["column a: joined the key"],
        );
    }

    #[test]
    fn schemas_of_others_are_compared_by_their_fields() {
        let old = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"b","type":"int"}]}"#;
        let new = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"long"},{"name":"c","type":"int"}]}"#;
        assert_eq!(
            changes(old, new),
            [
                "field a: type changed from \"int\" to \"long\"",
                "added field c \"int\"",
                "removed field b \"int\""
            ]
        );
    }
}
