//! Changes that are longer than a record of Kafka may be.

use serde_json::Value;
use testkit::postgres::Connection;
use testkit::random::Random;
use testkit::{compare, kafka};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::pipeline::Pipeline;

/// The smallest limit there is, so that rows of some hundred kilobytes have many parts.
const RECORD_BYTES_MAX: usize = 65_536;

/// In `entire` the whole row is the key, which may be longer than a record by itself.
const TABLES: &str = "
    create extension pgcrypto;
    create function noise(bytes int) returns bytea language sql volatile as $$
        select coalesce(string_agg(gen_random_bytes(least(1024, bytes - n)), ''), '')
          from generate_series(0, bytes - 1, 1024) n $$;
    create table pages (id int primary key, note text, body bytea, other bytea);
    alter table pages alter body set storage external, alter other set storage external;
    create table entire (n int, body bytea);
    alter table entire replica identity full;
    insert into pages
    select n, 'read', noise((n * n * 97) % 300000), noise(n % 5 * 30000) from generate_series(1, 80) n;
    insert into entire select n, noise(n * 9000) from generate_series(1, 30) n";

/// Lengths about the limit, where a record just fits or just does not.
async fn write_about_the_limit(source: &Connection) {
    let limit = i32::try_from(RECORD_BYTES_MAX).expect("a small number");
    for (id, bytes) in (1_000..).zip((limit - 1_300)..(limit - 1_000)) {
        let sql = "insert into pages values ($1, 'edge', noise($2), null)";
        source.execute(sql, &[&id, &bytes]).await.expect("insert");
    }
}

async fn write(source: &Connection, random: &mut Random) {
    let id = i32::try_from(random.below(120)).expect("a small number");
    let bytes = i32::try_from(random.below(400_000)).expect("a small number");
    let sql = match random.below(8) {
        0 => {
            "insert into pages values ($1, 'new', noise($2), noise($2 / 3)) on conflict do nothing"
        }
        1 => "delete from pages where id = $1 and $2 > 0",
        2 => "update pages set note = ($2::int)::text where id = $1",
        3 => "update pages set body = noise($2) where id = $1",
        4 => "update pages set id = id + 200 where id = $1 and $2 > 0",
        5 => "insert into entire values ($1, noise($2))",
        6 => "delete from entire where n = $1 and $2 > 0",
        _ => "update entire set body = noise($2) where n = $1",
    };
    let written = source.execute(sql, &[&id, &bytes]).await;
    let is_taken = |error: &Error| error.code() == Some(&SqlState::UNIQUE_VIOLATION);
    assert!(written.as_ref().err().is_none_or(is_taken), "{written:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_longer_than_records_arrive_by_snapshot_and_stream_over_kills() {
    let pipeline = Pipeline::new().await;
    let source = pipeline.source.client().await;
    source.batch_execute(TABLES).await.expect("make tables");
    pipeline.run(&["setup"]).await.well();
    let mut services = [
        pipeline.cdc_with(&[&format!("--record-bytes-max={RECORD_BYTES_MAX}")]),
        pipeline.applier(),
    ];
    pipeline.streaming().await;
    write_about_the_limit(&source).await;
    let mut random = Random::new(11);
    for life in 0..4 {
        for _ in 0..40 {
            write(&source, &mut random).await;
        }
        let service = &mut services[life % 2];
        service.kill_9();
        service.restart();
    }
    let target = pipeline.target.client().await;
    pipeline.caught_up(&source, &target).await;
    compare::databases(&source, &target).await.expect("equal");

    let bootstrap = kafka::bootstrap().await;
    for (table, column) in [
        ("pages", "greatest(length(body), length(other))"),
        ("entire", "length(body)"),
    ] {
        let topic = format!("{}.public.{table}", pipeline.name());
        let records = kafka::records(bootstrap, &topic);
        let longest = records
            .iter()
            .map(|it| it.key.as_ref().map_or(0, Vec::len) + it.value.as_ref().map_or(0, Vec::len));
        assert!(longest.max().is_some_and(|bytes| bytes <= RECORD_BYTES_MAX));
        let sql = format!("select max({column}) from {table}");
        let longest: i32 = source.query_one(&sql, &[]).await.expect("ask").get(0);
        assert!(longest > 2 * 65_536, "no row of {table} was too long");
    }
    // Parts are shown as what they are.
    let page = pipeline
        .run(&["topics", "records", "public.pages", "--json", "--limit=100"])
        .await
        .well();
    let page: Value = serde_json::from_str(&page).expect("JSON");
    let records = page["records"].as_array().expect("records");
    let first = records
        .iter()
        .position(|it| it["operation"] == "part 1 of 2");
    let first = first.expect("a record in two parts");
    let second = records.iter().find(|it| {
        let ordinal = |it: &Value| it["ordinal"].as_u64().expect("an ordinal");
        it["commit_lsn"] == records[first]["commit_lsn"]
            && ordinal(it) == ordinal(&records[first]) + 1
    });
    assert_eq!(second.expect("its other part")["operation"], "part 2 of 2");
    assert!(records.iter().all(|it| it["error"].is_null()), "{page}");
    let verified = pipeline.run(&["verify"]).await.well();
    assert!(verified.contains("public.pages: equal"), "{verified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_named_and_goes_on_in_parts() {
    let pipeline = Pipeline::new().await;
    let source = pipeline.source.client().await;
    let table = "create table t (a int, b text, body text, primary key (a, b))";
    source.batch_execute(table).await.expect("make a table");
    pipeline.run(&["setup"]).await.well();
    let limit = format!("--record-bytes-max={RECORD_BYTES_MAX}");
    let mut refusing = pipeline.cdc_with(&[&limit, "--large-records=refuse"]);
    let _applier = pipeline.applier();
    pipeline.streaming().await;
    let insert = "insert into t values (7, 'x', 'short'), (8, 'y''z', repeat('long', 20000))";
    source.batch_execute(insert).await.expect("insert");
    assert!(!refusing.exit().await.success());
    let said = refusing.output();
    let named = "the record of row (a=8, b=y'z) of table public.t would have 80";
    assert!(said.contains(named), "{said}");
    assert!(said.contains("--large-records split"), "{said}");

    let _cdc = pipeline.cdc_with(&[&limit]);
    let target = pipeline.target.client().await;
    pipeline.caught_up(&source, &target).await;
    compare::databases(&source, &target).await.expect("equal");
}

/// What Postgres lets a value have is a gigabyte, of which a server sends and takes half.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_200_megabytes_arrives() {
    let pipeline = Pipeline::new().await;
    let source = pipeline.source.client().await;
    let made = "create table t (id int primary key, body bytea, n int);
                alter table t alter body set storage external;
                insert into t values (1, decode(repeat('00ff5a', 66666666), 'hex') || '\\x01')";
    source.batch_execute(made).await.expect("make a table");
    pipeline.run(&["setup"]).await.well();
    let _services = [pipeline.cdc(), pipeline.applier()];
    pipeline.streaming().await;
    let more = "insert into t select 2, body || '\\x02', 1 from t where id = 1;
                update t set n = 2";
    source.batch_execute(more).await.expect("write");
    let target = pipeline.target.client().await;
    pipeline.caught_up(&source, &target).await;
    let of = "select string_agg(concat_ws(' ', id, length(body), md5(body), n), ', ' order by id) from t";
    let rows = async |of_side: &Connection| -> String {
        of_side.query_one(of, &[]).await.expect("ask").get(0)
    };
    let (there, here) = (rows(&source).await, rows(&target).await);
    assert_eq!(there, here);
    assert!(there.starts_with("1 199999999 "), "{there}");
}
