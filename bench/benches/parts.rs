//! What each row goes through in one process, in bytes a second:
//! `cargo bench -p bench --bench parts`.
//!
//! The row is that of the workloads, 330 bytes; bytes are those of the message of pgoutput.

use applier::parts::Tuples;
use cdc::parts::Rows;
use change::TableName;
use change::envelope::value_schema;
use change::relation::{Column, Key, PgType, Relation};
use change::value::Mapping;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const COLUMNS: [(&str, &str, &str); 8] = [
    ("id", "int8", "bigint"),
    ("title", "text", "text"),
    ("content", "text", "text"),
    ("author", "text", "text"),
    ("status", "text", "text"),
    ("views_count", "int8", "bigint"),
    ("created_at", "timestamptz", "timestamp with time zone"),
    ("updated_at", "timestamptz", "timestamp with time zone"),
];

fn articles() -> Relation {
    let columns = COLUMNS.map(|(name, mapping, pg_type)| Column {
        name: name.to_owned(),
        in_key: name == "id",
        mapping: Mapping::parse(mapping, 0).expect("a mapping"),
        pg_type: PgType {
            name: pg_type.to_owned(),
            modifier: -1,
            enum_labels: Vec::new(),
        },
        not_null: true,
        default: None,
        generated: false,
    });
    Relation {
        table: TableName::new("public", "articles"),
        key: Key::Columns,
        columns: columns.into(),
    }
}

/// Manual, "Logical Replication Message Formats", Insert; all values binary.
fn insert() -> Vec<u8> {
    let number = 4_711_i64.to_be_bytes();
    let time = 800_000_000_000_000_i64.to_be_bytes();
    let content = "0123456789abcdef".repeat(14);
    let values: [&[u8]; 8] = [
        &number,
        b"Article 4711",
        content.as_bytes(),
        b"author 711",
        b"draft",
        &number,
        &time,
        &time,
    ];
    let mut message = b"I\0\0\x40\x00N\0\x08".to_vec();
    for value in values {
        let length = u32::try_from(value.len()).expect("short values");
        message.push(b'b');
        message.extend(length.to_be_bytes());
        message.extend_from_slice(value);
    }
    message
}

fn parts(criterion: &mut Criterion) {
    let message = insert();
    let rows = Rows::new(articles());
    let record = rows.encode(&message);
    let mut tuples = Tuples::new(&value_schema(&articles(), "p"));
    let mut out = Vec::new();
    let mut group = criterion.benchmark_group("parts");
    group.throughput(Throughput::Bytes(message.len() as u64));
    group.bench_function("decode", |bench| {
        bench.iter(|| Rows::decode(&message));
    });
    group.bench_function("decode and encode", |bench| {
        bench.iter(|| rows.encode(&message));
    });
    group.bench_function("record to COPY", |bench| {
        bench.iter(|| {
            out.clear();
            tuples.copy(&record, &mut out);
        });
    });
    group.finish();
}

criterion_group!(benches, parts);
criterion_main!(benches);
