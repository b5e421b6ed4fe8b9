//! Every type arrives byte for byte the same (promise 3), by snapshot and by stream; and every kind of
//! change, from a random workload (promise 1).

use testkit::compare;
use testkit::workload::{self, Workload};

use crate::pipeline::Pipeline;

/// Types and values of theirs. Each value goes into a row of its own, the whole column also into a
/// row of arrays.
pub(crate) const VALUES: &[(&str, &[&str])] = &[
    ("bool", &["true", "false"]),
    ("int2", &["-32768", "32767"]),
    ("int4", &["-2147483648", "2147483647"]),
    ("int8", &["-9223372036854775808", "9223372036854775807"]),
    (
        "float4",
        &[
            "NaN",
            "Infinity",
            "-Infinity",
            "-0",
            "1e-45",
            "3.4028235e38",
        ],
    ),
    (
        "float8",
        &[
            "NaN",
            "Infinity",
            "-Infinity",
            "-0",
            "5e-324",
            "1.7976931348623157e308",
            "0.1",
        ],
    ),
    (
        "numeric",
        &[
            "NaN",
            "Infinity",
            "-Infinity",
            "0",
            "0.000",
            "-1.50",
            "1e400",
            "1e-400",
            "12345678901234567890.123456789",
        ],
    ),
    (
        "numeric(12,3)",
        &[
            "NaN",
            "0",
            "-0.001",
            "999999999.999",
            "-999999999.999",
            "42",
        ],
    ),
    (
        "numeric(60,30)",
        &[
            "123456789012345678901234567890.123456789012345678901234567890",
            "-1",
        ],
    ),
    (
        "text",
        &["", "plain", "Ünïcödé 🐘", "line\nbreak\\ and \"quotes\""],
    ),
    ("varchar(12)", &["", "twelve chars"]),
    ("char(5)", &["", "ab"]),
    ("name", &["a_name"]),
    ("\"char\"", &["a", ""]),
    ("bytea", &["", "\\x00ff10"]),
    (
        "date",
        &[
            "infinity",
            "-infinity",
            "4714-11-24 BC",
            "5874897-12-31",
            "1969-12-31",
            "2024-02-29",
        ],
    ),
    ("time", &["00:00:00", "24:00:00", "23:59:59.999999"]),
    (
        "timetz",
        &["00:00:00+15:59", "24:00:00-15:59", "12:00:00.5+00"],
    ),
    (
        "timestamp",
        &[
            "infinity",
            "-infinity",
            "4714-11-24 00:00:00 BC",
            "294276-12-31 23:59:59.999999",
            "1970-01-01 00:00:00.000001",
        ],
    ),
    (
        "timestamptz",
        &[
            "infinity",
            "-infinity",
            "4714-11-24 00:00:00+00 BC",
            "294276-12-31 23:59:59.999999+00",
            "1969-12-31 23:59:59.999999+00",
        ],
    ),
    (
        "interval",
        &[
            "0",
            "1 year -2 mons 3 days -04:05:06.789",
            "-178000000 years",
            "1 microsecond",
        ],
    ),
    (
        "uuid",
        &[
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ],
    ),
    (
        "json",
        &[
            "{\"b\": 1, \"a\": [1, 2,  3], \"b\": null}",
            "\"text\"",
            "1e3",
        ],
    ),
    (
        "jsonb",
        &[
            "{\"b\": 1, \"a\": [1, 2, 3], \"c\": null}",
            "\"text\"",
            "1e3",
            "{}",
        ],
    ),
    ("jsonpath", &["$.a[*] ? (@ > 2)"]),
    ("xml", &["<a b=\"c\">d</a>"]),
    (
        "inet",
        &["192.168.0.1/24", "::1", "fe80::1/64", "0.0.0.0/0"],
    ),
    ("cidr", &["10.0.0.0/8", "2001:db8::/32"]),
    ("macaddr", &["08:00:2b:01:02:03"]),
    ("macaddr8", &["08:00:2b:01:02:03:04:05"]),
    ("bit(3)", &["101", "000"]),
    ("varbit", &["", "1", "10101010101"]),
    (
        "money",
        &["-92233720368547758.08", "92233720368547758.07", "0"],
    ),
    ("oid", &["0", "4294967295"]),
    ("xid", &["4294967295"]),
    ("xid8", &["18446744073709551615"]),
    ("pg_lsn", &["0/0", "FFFFFFFF/FFFFFFFF"]),
    ("tid", &["(4294967295,65535)"]),
    ("point", &["(1.5,-0)", "(NaN,Infinity)"]),
    ("line", &["{1,-2,3.5}"]),
    ("lseg", &["[(0,0),(1,1)]"]),
    ("box", &["(1,1),(0,0)"]),
    ("path", &["[(0,0),(1,1)]", "((0,0),(1,1))"]),
    ("polygon", &["((0,0),(1,1),(1,0))"]),
    ("circle", &["<(0,0),1.5>"]),
    ("tsvector", &["'fat':2 'rat':3A,4", ""]),
    ("tsquery", &["'fat' & ( 'rat' | !'cat':*B )"]),
    ("int4range", &["empty", "[1,10)", "(,)", "[5,)"]),
    ("numrange", &["[1.50,2.25]", "(,0]"]),
    (
        "daterange",
        &["[-infinity,infinity]", "[2024-01-01,2024-02-01)"],
    ),
    ("tstzrange", &["[2024-01-01 00:00+00,)", "empty"]),
    ("int8multirange", &["{}", "{[1,3),[5,)}"]),
    (
        "int4[]",
        &["{}", "{1,NULL,3}", "{{1,2},{3,4}}", "[0:1]={7,8}"],
    ),
    ("text[]", &["{a,NULL,\"\"}"]),
    ("numeric(6,2)[]", &["{1.5,NaN}", "{1.5,2}"]),
    ("timestamptz[]", &["{infinity,epoch}", "{epoch}"]),
    ("mood", &["sad", "it's ok"]),
    ("mood[]", &["{sad,NULL}"]),
    ("positive", &["7"]),
    ("pair", &["(1,x)", "(,)"]),
    ("pair[]", &["{\"(1,x)\",\"(2,)\"}"]),
    ("floatspan", &["[0.5,1.5)"]),
];

/// What a dump would bring to the target before the first start; enums are made there when missing.
pub(crate) const TYPES: &str = "create domain positive as int check (value > 0);
    create type pair as (a int, b text);
    create type floatspan as range (subtype = float8)";

/// Only for the source: the target gets it from setup.
pub(crate) const MOOD: &str = "create type mood as enum ('sad', 'it''s ok')";

/// A table with a column for each type.
pub(crate) fn tables() -> String {
    let columns: Vec<String> = VALUES
        .iter()
        .enumerate()
        .map(|(n, (name, _))| format!("c{n} {name}"))
        .collect();
    format!(
        "create table every_type (id int primary key, {})",
        columns.join(", ")
    )
}

/// A row for each value, the other columns NULL, with ids from `first`.
pub(crate) fn rows(first: usize) -> String {
    let mut sql = String::new();
    let mut id = first;
    for (column, (name, values)) in VALUES.iter().enumerate() {
        for value in *values {
            let value = value.replace('\'', "''");
            sql += &format!(
                "insert into every_type (id, c{column}) values ({id}, '{value}'::{name});"
            );
            id += 1;
        }
    }
    sql
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_arrives_unchanged_by_snapshot_and_by_stream() {
    let pipeline = Pipeline::new().await;
    let source = pipeline.source.client().await;
    let target = pipeline.target.client().await;
    source.batch_execute(MOOD).await.unwrap();
    source.batch_execute(TYPES).await.unwrap();
    target.batch_execute(TYPES).await.unwrap();
    source.batch_execute(&tables()).await.unwrap();
    source.batch_execute(&rows(0)).await.unwrap();
    let capture = pipeline.cdc();
    // The topics are there by then, so that the applier has nothing to warn of.
    capture.printed("made the slot").await;
    let services = [capture, pipeline.applier()];
    pipeline.streaming().await;
    source.batch_execute(&rows(1_000)).await.unwrap();
    // Each row gets all values of another: updates carry every type too.
    let columns: Vec<String> = (0..VALUES.len())
        .map(|n| format!("c{n} = o.c{n}"))
        .collect();
    let update = format!(
        "update every_type t set {} from every_type o where o.id = t.id - 999 and t.id >= 1000",
        columns.join(", ")
    );
    source.batch_execute(&update).await.unwrap();
    let said = pipeline.run(&["verify"]).await.well();
    assert!(said.contains("public.every_type: equal"), "{said}");
    compare::tables(&source, &target, &["public.every_type"])
        .await
        .unwrap();
    for service in &services {
        assert!(!service.output().contains("WARN"), "{}", service.output());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_random_workload_under_kills_ends_equal() {
    let pipeline = Pipeline::new().await;
    let source = pipeline.source.client().await;
    workload::setup(&source).await.unwrap();
    let mut services = [pipeline.cdc(), pipeline.applier()];
    pipeline.streaming().await;
    let mut workload = Workload::new(11, 0);
    for round in 0..6 {
        workload.run(&source, 60).await.unwrap();
        services[round % 2].kill_9();
        services[round % 2].restart();
    }
    let said = pipeline.run(&["verify"]).await.well();
    assert!(said.contains("\nequal at "), "{said}");
    let target = pipeline.target.client().await;
    compare::databases(&source, &target).await.unwrap();
}
