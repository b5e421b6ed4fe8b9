use super::*;

fn shape() -> Shape {
    let column = |name: &str, type_name: &str, in_key: bool| ShapeColumn {
        name: name.to_owned(),
        type_name: type_name.to_owned(),
        equality: in_key.then(|| Equality {
            operator: "operator(pg_catalog.=)".to_owned(),
            base_type: type_name.to_owned(),
        }),
        carried_as: (type_name == "aclitem").then(|| "text".to_owned()),
    };
    Shape {
        table: TableName::new("public", "a\"b"),
        storage: Storage::Own,
        columns: vec![
            column("id", "integer", true),
            column("b", "bpchar", false),
            column("c", "aclitem", false),
        ],
        has_key: true,
        stage: "stage 1".to_owned(),
    }
}

#[track_caller]
fn check(statement: &TableStatement, expected: &str) {
    assert_eq!(shape().sql(statement), expected);
}

#[test]
fn rows_are_changed_by_their_key() {
    check(
        &TableStatement::Upsert,
        r#"insert into "public"."a""b" ("id", "b", "c") overriding system value values ($1::integer, $2::bpchar, $3::text::aclitem) on conflict ("id") do update set "b" = excluded."b", "c" = excluded."c""#,
    );
    check(
        &TableStatement::Patch([false, false, true].into()),
        r#"update only "public"."a""b" as t set "c" = $1::text::aclitem where t."id" operator(pg_catalog.=) $2::integer"#,
    );
    check(
        &TableStatement::Delete,
        r#"delete from only "public"."a""b" as t where t."id" operator(pg_catalog.=) $1::integer"#,
    );
}

#[test]
fn rows_without_values_come_and_go_one_by_one() {
    let shape = Shape {
        columns: Vec::new(),
        has_key: false,
        ..shape()
    };
    assert!(!shape.takes_images() && !shape.has_stage());
    assert_eq!(
        shape.sql(&TableStatement::Insert),
        r#"insert into "public"."a""b" default values"#
    );
    assert_eq!(
        shape.sql(&TableStatement::Delete),
        r#"delete from only "public"."a""b" where (tableoid, ctid) = (select t.tableoid, t.ctid from only "public"."a""b" as t where pg_catalog.record_image_eq(row(), row()) limit 1)"#
    );
}

#[test]
fn many_rows_are_changed_from_the_stage() {
    check(
        &TableStatement::PatchStaged([false, true, true].into()),
        r#"update only "public"."a""b" as t set "b" = s.c1, "c" = s.c2::aclitem from pg_temp."stage 1" as s where t."id" operator(pg_catalog.=) s.c0"#,
    );
    check(
        &TableStatement::CopyToStage([true, false, true].into()),
        r#"copy pg_temp."stage 1" (c0, c2) from stdin (format binary)"#,
    );
    assert_eq!(
        shape().create_stage(),
        r#"create temp table if not exists "stage 1" (c0 integer, c1 bpchar, c2 text) on commit delete rows"#
    );
}

#[test]
fn a_table_of_keys_only_is_upserted() {
    let mut shape = shape();
    shape.columns.truncate(1);
    let sql = shape.sql(&TableStatement::Upsert);
    assert!(sql.ends_with(r#"on conflict ("id") do nothing"#), "{sql}");
}

#[test]
fn written_keys_are_noted_and_their_live_rows_brought() {
    let touched = Arc::new(Touched {
        live: TableName::new("public", "live"),
        columns: vec!["id".to_owned(), "b".to_owned()],
        keys: TableName::new("r", "keys_1"),
    });
    check(
        &TableStatement::Note(Arc::clone(&touched), Noting::Late),
        r#"insert into "r"."keys_1" as k ("id", late) select s.c0, true from pg_temp."stage 1" as s on conflict ("id") do update set late = true where not k.late"#,
    );
    check(
        &TableStatement::Seed(Arc::clone(&touched)),
        r#"insert into "public"."a""b" ("id", "b") select l."id", l."b" from "public"."live" as l join pg_temp."stage 1" as s on l."id" operator(pg_catalog.=) s.c0 where not exists (select from "r"."keys_1" as k where k."id" operator(pg_catalog.=) l."id") on conflict do nothing"#,
    );
    check(
        &TableStatement::SeedMoved(touched),
        r#"insert into "public"."a""b" ("id", "b") select l."id", l."b" from "public"."live" as l where l."id" operator(pg_catalog.=) $2::integer and not exists (select from "r"."keys_1" as k where k."id" operator(pg_catalog.=) $1::integer) on conflict do nothing"#,
    );
}

#[test]
fn values_of_a_narrower_type_are_cast() {
    let mut shape = shape();
    shape.columns[0].type_name = "bigint".to_owned();
    shape.columns[0].carried_as = Some("integer".to_owned());
    let equality = shape.columns[0].equality.as_mut().unwrap();
    equality.base_type = "bigint".to_owned();
    assert!(!shape.takes_images());
    assert_eq!(
        shape.sql(&TableStatement::Delete),
        r#"delete from only "public"."a""b" as t where t."id" operator(pg_catalog.=) $1::integer::bigint"#
    );
    assert_eq!(
        shape.create_stage(),
        r#"create temp table if not exists "stage 1" (c0 integer, c1 bpchar, c2 text) on commit delete rows"#
    );
}
