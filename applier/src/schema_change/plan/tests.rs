use serde_json::{Value, json};

use super::*;

fn table(name: &str, columns: &[Value]) -> Value {
    json!({
        "object": "table", "schema": "public", "name": name, "publications": [],
        "identity": "d", "columns": columns, "constraints": [], "indexes": [],
    })
}

fn id() -> Value {
    json!({"number": 1, "name": "id", "type": "integer", "not_null": true})
}

fn planned(before: &Value, after: &Value) -> Vec<String> {
    let notice = json!({"tag": "ALTER TABLE", "before": before, "after": after});
    statements(&Notice::parse(notice.to_string().as_bytes()).unwrap())
}

#[test]
fn nothing_that_is_carried_over_is_no_statement() {
    let same = table("t", &[id()]);
    assert!(planned(&same, &same).is_empty());
}

#[test]
fn a_column_is_known_by_its_number() {
    let renamed = json!({"number": 1, "name": "key", "type": "integer", "not_null": true});
    let sql = planned(&table("t", &[id()]), &table("t", &[renamed]));
    assert_eq!(
        sql,
        [r#"alter table "public"."t" rename column "id" to "key""#]
    );
}

#[test]
fn rows_that_are_older_than_a_column_get_its_value_of_then() {
    let added = json!({"number": 2, "name": "at", "type": "timestamp with time zone",
        "not_null": true, "default": "now()", "missing": "2026-01-01 00:00:00+00"});
    let sql = planned(&table("t", &[id()]), &table("t", &[id(), added]));
    assert_eq!(
        sql,
        [
            "alter table \"public\".\"t\" add column \"at\" timestamp with time zone \
             default '2026-01-01 00:00:00+00'::timestamp with time zone not null",
            "alter table \"public\".\"t\" alter column \"at\" set default now()",
        ]
    );
}

#[test]
fn a_constraint_that_changed_is_dropped_and_added() {
    let with = |definition: &str| {
        let mut table = table("t", &[id()]);
        table["constraints"] = json!([{"name": "c", "kind": "c", "definition": definition}]);
        table
    };
    assert_eq!(
        planned(&with("CHECK (id > 0)"), &with("CHECK (id > 1)")),
        [
            r#"alter table "public"."t" drop constraint if exists "c""#,
            r#"alter table "public"."t" add constraint "c" CHECK (id > 1)"#,
        ]
    );
}

#[test]
fn a_constraint_of_another_name_is_renamed() {
    let with = |name: &str| {
        let mut table = table("t", &[id()]);
        table["constraints"] =
            json!([{"name": name, "kind": "p", "definition": "PRIMARY KEY (id)"}]);
        table
    };
    assert_eq!(
        planned(&with("a"), &with("b")),
        [r#"alter table "public"."t" rename constraint "a" to "b""#]
    );
}

fn domain(schema: &str, not_null: bool, constraints: &[(&str, &str)]) -> Value {
    let constraint = |(name, definition): &(&str, &str)| json!({"name": name, "kind": "c", "definition": definition});
    let constraints: Vec<Value> = constraints.iter().map(constraint).collect();
    json!({"object": "domain", "schema": schema, "name": "d", "type": "text",
        "collation": "pg_catalog.\"C\"", "default": "'x'::text", "not_null": not_null,
        "constraints": constraints})
}

#[test]
fn a_domain_is_made_in_one_statement() {
    assert_eq!(
        planned(
            &Value::Null,
            &domain("s", true, &[("c", "CHECK (VALUE <> '')")])
        ),
        [
            "create domain \"s\".\"d\" as text collate pg_catalog.\"C\" default 'x'::text not null \
          constraint \"c\" CHECK (VALUE <> '')"
        ]
    );
}

#[test]
fn a_domain_becomes_another_by_what_differs() {
    let before = domain(
        "s",
        true,
        &[
            ("a", "CHECK (A)"),
            ("b", "CHECK (B) NOT VALID"),
            ("c", "CHECK (C)"),
        ],
    );
    let after = domain(
        "z",
        false,
        &[("b", "CHECK (B)"), ("d", "CHECK (D)"), ("e", "CHECK (A)")],
    );
    assert_eq!(
        planned(&before, &after),
        [
            r#"alter type "s"."d" set schema "z""#,
            r#"alter domain "z"."d" rename constraint "a" to "e""#,
            r#"alter domain "z"."d" validate constraint "b""#,
            r#"alter domain "z"."d" drop constraint if exists "c""#,
            r#"alter domain "z"."d" drop not null"#,
            r#"alter domain "z"."d" add constraint "d" CHECK (D)"#,
        ]
    );
}

#[test]
fn an_attribute_is_known_by_its_number() {
    let composite = |attributes: Value| json!({"object": "composite", "schema": "s", "name": "c", "attributes": attributes});
    let before = composite(json!([
        {"number": 1, "name": "a", "type": "integer"}, {"number": 2, "name": "b", "type": "text"},
    ]));
    let after = composite(json!([
        {"number": 2, "name": "x", "type": "text"}, {"number": 3, "name": "y", "type": "date"},
    ]));
    assert_eq!(
        planned(&before, &after),
        [
            r#"alter type "s"."c" drop attribute if exists "a""#,
            r#"alter type "s"."c" rename attribute "b" to "x""#,
            r#"alter type "s"."c" add attribute "y" date"#,
        ]
    );
}

#[test]
fn names_and_labels_are_quoted() {
    let named = json!({"object": "enum", "schema": "s\"", "name": "e", "labels": ["it's"]});
    assert_eq!(
        planned(&Value::Null, &named),
        [r#"create type "s"""."e" as enum ('it''s')"#]
    );
}

#[test]
fn a_label_is_added_at_its_place() {
    let labelled = |labels: &[&str]| json!({"object": "enum", "schema": "public", "name": "e", "labels": labels});
    assert_eq!(
        planned(&labelled(&["b"]), &labelled(&["a", "b", "c"])),
        [
            r#"alter type "public"."e" add value if not exists 'a' before 'b'"#,
            r#"alter type "public"."e" add value if not exists 'c' after 'b'"#,
        ]
    );
}

#[test]
fn what_a_partition_has_from_its_parent_comes_with_that() {
    let partition = |columns: &[Value]| {
        let mut table = table("p", columns);
        table["partition_of"] = json!({"schema": "public", "name": "t"});
        table["partition_bound"] = json!("DEFAULT");
        table
    };
    let added = json!({"number": 2, "name": "x", "type": "integer", "not_null": false});
    assert!(planned(&partition(&[id()]), &partition(&[id(), added])).is_empty());
    assert_eq!(
        planned(&partition(&[id()]), &table("p", &[id()])),
        [r#"alter table "public"."t" detach partition "public"."p""#]
    );
}
