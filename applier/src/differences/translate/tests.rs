use serde_json::{Value, json};

use super::*;
use crate::differences::tests::differences;
use crate::schema_change::statements;

const OPTIONS: &[&str] = &[
    "rename-schema old=new",
    "rename public.people=crm.persons",
    "rename-column public.people.name=full_name",
    "leave-out public.people.ssn",
    "mask public.people.email=hash",
    "mask public.people.note=constant:none",
];

fn table(schema: &str, name: &str, columns: &[Value]) -> Value {
    json!({
        "object": "table", "schema": schema, "name": name, "publications": [],
        "identity": "d", "columns": columns, "constraints": [], "indexes": [],
    })
}

fn column(number: i16, name: &str, type_name: &str) -> Value {
    json!({"number": number, "name": name, "type": type_name, "not_null": false})
}

fn people(more: &[Value]) -> Value {
    let mut columns = vec![column(1, "id", "integer"), column(2, "name", "text")];
    columns.extend_from_slice(more);
    table("public", "people", &columns)
}

fn planned(tag: &str, before: &Value, after: &Value) -> Result<Vec<String>, Untranslatable> {
    let notice = json!({"tag": tag, "before": before, "after": after});
    let notice = Notice::parse(notice.to_string().as_bytes()).unwrap();
    translated(&notice, &differences(OPTIONS)).map(|notice| statements(&notice))
}

#[track_caller]
fn check(before: &Value, after: &Value, expected: &[&str]) {
    assert_eq!(planned("ALTER TABLE", before, after).unwrap(), expected);
}

#[track_caller]
fn refuse(before: &Value, after: &Value, expected: Untranslatable) {
    assert_eq!(planned("ALTER TABLE", before, after), Err(expected));
}

fn with(mut table: Value, part: &str, value: Value) -> Value {
    table[part] = value;
    table
}

#[test]
fn a_table_is_made_by_the_targets_names() {
    let made = people(&[column(3, "ssn", "text"), column(4, "email", "citext")]);
    let made = with(
        made,
        "constraints",
        json!([
            {"name": "pk", "kind": "p", "definition": "PRIMARY KEY (id)"},
            {"name": "un", "kind": "u", "definition": "UNIQUE (name, id) INCLUDE (name)"},
            {"name": "gone", "kind": "c", "definition": "CHECK (ssn <> ''::text)"},
            {"name": "fk", "kind": "f",
             "definition": "FOREIGN KEY (name) REFERENCES public.people(name) ON DELETE SET NULL (name)"},
            {"name": "to_old", "kind": "f", "definition": "FOREIGN KEY (id) REFERENCES old.t(name)"}]),
    );
    let made = with(
        made,
        "indexes",
        json!([
            {"schema": "public", "name": "by_name", "definition":
             "CREATE UNIQUE INDEX by_name ON public.people USING btree (name DESC, id) WITH (fillfactor='70')"},
            {"schema": "public", "name": "by_email", "definition":
             "CREATE INDEX by_email ON public.people USING btree (lower(email))"}]),
    );
    check(
        &Value::Null,
        &made,
        &[
            r#"create table "crm"."persons" ("id" integer, "full_name" text, "email" text)"#,
            r#"alter table "crm"."persons" add constraint "pk" PRIMARY KEY (id)"#,
            r#"alter table "crm"."persons" add constraint "un" UNIQUE ("full_name", id) INCLUDE ("full_name")"#,
            r#"alter table "crm"."persons" add constraint "fk" FOREIGN KEY ("full_name") REFERENCES "crm"."persons"("full_name") ON DELETE SET NULL ("full_name")"#,
            r#"alter table "crm"."persons" add constraint "to_old" FOREIGN KEY (id) REFERENCES "new"."t"(name)"#,
            r#"CREATE UNIQUE INDEX by_name ON "crm"."persons" USING btree ("full_name" DESC, id) WITH (fillfactor='70')"#,
        ],
    );
}

#[test]
fn columns_that_come_are_renamed_left_out_and_masked() {
    let note = json!({"number": 5, "name": "note", "type": "text", "not_null": true, "default": "'x'::text"});
    check(
        &people(&[]),
        &people(&[column(3, "ssn", "text"), note, column(6, "more", "integer")]),
        &[
            r#"alter table "crm"."persons" add column "note" text default 'none'::text not null"#,
            r#"alter table "crm"."persons" alter column "note" drop default"#,
            r#"alter table "crm"."persons" add column "more" integer"#,
        ],
    );
    let email = json!({"number": 4, "name": "email", "type": "text", "not_null": false,
        "default": "'a@b'::text", "missing": "a@b"});
    let hashed = Untranslatable::Hash("email".to_owned());
    refuse(&people(&[]), &people(&[email]), hashed);
    check(&people(&[column(3, "ssn", "text")]), &people(&[]), &[]);
}

#[test]
fn expressions_over_columns_that_differ_are_not_guessed() {
    let constraint =
        |definition: &str| json!([{"name": "c", "kind": "c", "definition": definition}]);
    let checked = with(
        people(&[]),
        "constraints",
        constraint("CHECK (name <> 'name'::text)"),
    );
    let of = |what: &str| Untranslatable::Expression(what.to_owned());
    refuse(&people(&[]), &checked, of("constraint c"));
    // It was there before: somebody has seen to it.
    let wider = people(&[column(6, "more", "integer")]);
    let wider = with(wider, "constraints", checked["constraints"].clone());
    let added = r#"alter table "crm"."persons" add column "more" integer"#;
    check(&checked, &wider, &[added]);
    let dropped = r#"alter table "crm"."persons" drop constraint if exists "c""#;
    check(&checked, &people(&[]), &[dropped]);
    let index = |rest: &str| {
        let definition = format!("CREATE INDEX i ON public.people USING {rest}");
        with(
            people(&[]),
            "indexes",
            json!([{"schema": "public", "name": "i", "definition": definition}]),
        )
    };
    refuse(&people(&[]), &index("btree (lower(name))"), of("index i"));
    refuse(
        &people(&[]),
        &index("btree (id) WHERE (name > 'a'::text)"),
        of("index i"),
    );
    let generated = json!({"number": 7, "name": "g", "type": "text", "not_null": false,
        "generated": "s", "default": "upper(name)"});
    refuse(
        &people(&[]),
        &people(&[generated]),
        of("what column g is generated from"),
    );
    let own = with(
        people(&[]),
        "constraints",
        constraint("CHECK (id > 0 AND 'name' <> ''::text)"),
    );
    check(
        &people(&[]),
        &own,
        &[
            r#"alter table "crm"."persons" add constraint "c" CHECK (id > 0 AND 'name' <> ''::text)"#,
        ],
    );
}

#[test]
fn what_options_name_is_not_renamed() {
    let folks = table(
        "public",
        "folks",
        &[column(1, "id", "integer"), column(2, "name", "text")],
    );
    refuse(&people(&[]), &folks, Untranslatable::Table);
    let columns = [column(1, "id", "integer"), column(2, "called", "text")];
    let renamed = table("public", "people", &columns);
    refuse(
        &people(&[]),
        &renamed,
        Untranslatable::Column("called".to_owned()),
    );
    let own = |schema, name| table(schema, name, &[column(1, "id", "integer")]);
    check(
        &own("old", "t"),
        &own("old", "u"),
        &[r#"alter table "new"."t" rename to "u""#],
    );
    let moved = planned("ALTER SCHEMA", &own("old", "t"), &own("older", "t"));
    assert_eq!(moved, Err(Untranslatable::Table));
}

#[test]
fn other_tables_and_objects_are_left_as_they_are() {
    let own = |columns: &[Value]| table("public", "t", columns);
    check(
        &own(&[column(1, "id", "integer")]),
        &own(&[column(1, "name", "integer")]),
        &[r#"alter table "public"."t" rename column "id" to "name""#],
    );
    let schema = json!({"object": "schema", "name": "old"});
    check(
        &Value::Null,
        &schema,
        &[r#"create schema if not exists "old""#],
    );
}
