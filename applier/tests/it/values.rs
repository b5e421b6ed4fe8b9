//! Every value arrives byte for byte the same.

use change::commit::CommitKind;

use crate::rig::{Record, Rig, Table};

/// Publishes the table's rows twice over: as few (one by one) and as many (by COPY).
async fn arrive(rig: &mut Rig, table: &Table, select: &str) {
    let created = rig.creates(table, select).await;
    rig.capture.commit(&created).await;
    rig.caught_up().await;
    let name = table.relation.table.quoted();
    rig.assert_equal_text(&name).await;
    let mut again: Vec<Record> = vec![table.truncate()];
    again.extend(
        rig.rows(select)
            .await
            .into_iter()
            .map(|row| table.read(row)),
    );
    let lsn = rig.capture.next_lsn();
    rig.capture
        .batch(CommitKind::Stream, &[(lsn, &again)])
        .await;
    rig.caught_up().await;
    rig.assert_equal_text(&name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_typed_fields_cannot_hold_arrive() {
    let mut rig = Rig::start().await;
    rig.sql(
        "create table t (id int primary key, d numeric(10,2), n numeric, f float8, \
         day date, at timestamp, tz timestamptz, ints int[], texts text[], span interval, \
         range int4range, shape point, address inet, bits varbit, doc jsonb, raw bytea)",
    )
    .await;
    rig.sql(
        r#"insert into t values
        (1, 'NaN', 'NaN', 'NaN', 'infinity', '-infinity', 'infinity', '{{1,2},{3,4}}',
         '[0:1]={a,b}', '1 mon -2 days 3.000001 s', '[1,5)', '(1,2)', '::1/64', B'101', '{"a":[1]}', '\x00ff'),
        (2, '0.00', 'Infinity', '-0', '4713-01-01 BC', '4713-01-01 BC', '294276-12-31 23:59:59.999999',
         '{}', '{null,"",x}', '0', 'empty', '(NaN,Infinity)', '10.0.0.1', B'', 'null', ''),
        (3, null, '1e-30', '-Infinity', '5874897-12-31', '2000-01-01', '1999-12-31 23:59:59.999999+00',
         null, '{}', null, null, null, null, null, '"x"', null)"#,
    )
    .await;
    rig.sql(
        "insert into t select n, n, n, n, 'epoch'::date + n, 'epoch'::timestamp, 'epoch', \
         array[n], array[n::text], null, null, null, null, null, to_jsonb(n), null \
         from generate_series(10, 300) n",
    )
    .await;
    let table = rig.table("t", 3).await;
    let applier = rig.apply();
    arrive(&mut rig, &table, "select * from t").await;
    rig.assert_equal(&["public.t"]).await;
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn types_of_the_users_own_are_made_or_found() {
    let mut rig = Rig::start().await;
    let made_by_hand =
        "create type pair as (a int, b text); create domain posint as int check (value > 0)";
    rig.sql(made_by_hand).await;
    // Another object identifier for the same names.
    rig.target
        .batch_execute("create table filler ()")
        .await
        .unwrap();
    rig.target.batch_execute(made_by_hand).await.unwrap();
    rig.sql(
        r#"create schema "my schema";
        create type mood as enum ('sad', 'it''s ok', 'ha"ppy');
        create type "my schema"."Odd.Type" as enum ('x', 'y');
        create table t (id posint primary key, m mood, ms mood[], o "my schema"."Odd.Type",
                        p pair, ps pair[], "weird näme""x" text)"#,
    )
    .await;
    rig.sql(
        r#"insert into t values
        (1, 'sad', '{sad,"it''s ok"}', 'x', '(1,a)', array['(2,b)'::pair, null], 'w'),
        (2, 'ha"ppy', '{{sad},{sad}}', 'y', null, '{}', null)"#,
    )
    .await;
    rig.sql(
        r#"insert into t select n, 'sad', array['sad', null]::mood[], 'x', row(n, 'x'::text)::pair, null, null
        from generate_series(10, 200) n"#,
    )
    .await;
    let table = rig.table("t", 3).await;
    let applier = rig.apply();
    arrive(&mut rig, &table, "select * from t").await;
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_several_columns_and_odd_types_are_found_again() {
    let mut rig = Rig::start().await;
    rig.sql(
        r#"create table "Odd ""Keys""" (day date, name char(6), amount numeric, "select" text,
           primary key (day, amount, name))"#,
    )
    .await;
    rig.sql(
        r#"insert into "Odd ""Keys""" select 'infinity', 'n' || n, 'NaN', 'v' from generate_series(1, 150) n"#,
    )
    .await;
    rig.sql(r#"insert into "Odd ""Keys""" values ('2000-01-01', 'x', 1.10, null)"#)
        .await;
    let select = r#"select * from "Odd ""Keys""""#;
    let table = rig.table(r#"Odd "Keys""#, 3).await;
    let applier = rig.apply();
    arrive(&mut rig, &table, select).await;
    rig.sql(r#"update "Odd ""Keys""" set "select" = 'new'"#)
        .await;
    let updated = rig.rows(select).await;
    let updated: Vec<Record> = updated.into_iter().map(|row| table.update(row)).collect();
    rig.capture.commit(&updated[..10]).await;
    rig.capture.commit(&updated).await;
    rig.caught_up().await;
    rig.assert_equal(&[r#"public.Odd "Keys""#]).await;
    let gone = rig.rows(&format!("{select} where day = 'infinity'")).await;
    rig.sql(r#"delete from "Odd ""Keys""" where day = 'infinity'"#)
        .await;
    let gone: Vec<Record> = gone.into_iter().map(|row| table.delete(row)).collect();
    rig.capture.commit(&gone[..3]).await;
    rig.capture.commit(&gone[3..]).await;
    rig.caught_up().await;
    rig.assert_equal(&[r#"public.Odd "Keys""#]).await;
    applier.stop().await;
}
