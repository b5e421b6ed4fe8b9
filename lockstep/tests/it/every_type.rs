//! Random values of every type that Postgres and its extensions have, through everything, as values
//! and as keys (promise 3).
//!
//! `LOCKSTEP_TEST_VALUES`, of each type, makes it longer; `LOCKSTEP_TEST_SEED` makes other values.

use std::collections::{BTreeMap, BTreeSet};
use testkit::{compare, setting, wait};

use serde_json::Value;
use testkit::postgres::Connection;
use testkit::random::Random;
use testkit::value::{Fate, PgType, Size, Types};
use tokio_postgres::error::SqlState;

use crate::pipeline::Pipeline;

/// The extensions that come with Postgres and have types, and types of one's own: over each kind of
/// type, also in each other.
const TYPES: &str = r#"
    create extension citext; create extension cube; create extension hstore; create extension intarray;
    create extension isn; create extension lo; create extension ltree; create extension seg;
    create schema "Own types";
    set search_path = "Own types", public;
    create type mood as enum ('sad', 'it''s ok', '"', 'ü\', '');
    create domain positive as int check (value is distinct from -1);
    create domain lower_case as citext collate "C";
    create domain of_domain as positive;
    create domain times as time(3)[] check (cardinality(value) < 100);
    create domain feeling as mood;
    create type "Pair of .. 'things'" as (a int, "b ""c" text, gone int, moods mood[], f feeling);
    alter type "Pair of .. 'things'" drop attribute gone;
    create type deep as (pairs "Pair of .. 'things'"[], h hstore, n times, r int8range[]);
    create domain checked_pair as "Pair of .. 'things'";
    create type nothing as ();
    create type textrange as range (subtype = text, collation = "C");
    create type moodrange as range (subtype = mood, multirange_type_name = moods);
    create type timerange as range (subtype = time);
    create type domainrange as range (subtype = of_domain);
    create table parent (id int primary key, gone text, body hstore, at timestamptz);
    alter table parent drop column gone;
    reset search_path"#;

/// Columns of a table.
const WIDTH: usize = 60;
/// Columns of a key: an index takes 2,704 bytes.
const KEY_WIDTH: usize = 6;

struct Table {
    name: String,
    types: Vec<usize>,
    is_key: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_the_catalog_arrives_as_value_and_as_key() {
    let pipeline = Pipeline::new().await;
    let source = pipeline.source.client().await;
    source.batch_execute(TYPES).await.expect("make types");
    let seed = setting::number("SEED", 15);
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let types = Types::read(&source).await.expect("read the types");
    let columns: Vec<&PgType> = types.with_fate(Fate::Travels).collect();
    println!("{} types", columns.len());
    let mut load = Load::new(&source, &types, columns, &mut random).await;
    load.insert().await;
    pipeline.run(&["check"]).await.well();
    pipeline.run(&["setup"]).await.well();
    let (_cdc, _applier) = (pipeline.cdc(), pipeline.applier());
    pipeline.streaming().await;
    load.insert().await;
    load.compare_texts(&pipeline).await;
    load.update().await;
    let said = pipeline.run(&["verify", "--deadline=60"]).await.well();
    assert!(said.contains("\nequal at "), "{said}");
    let target = pipeline.target.client().await;
    compare::databases(&source, &target).await.expect("equal");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_what_would_not_arrive() {
    let pipeline = Pipeline::new().await;
    let source = pipeline.source.client().await;
    source.batch_execute(TYPES).await.expect("make types");
    let types = Types::read(&source).await.expect("read the types");
    let columns: Vec<&PgType> = types.with_fate(Fate::NoBinary).collect();
    let listed: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(at, of)| format!(", c{at} {}", of.name))
        .collect();
    let sql = format!(
        "create table refused (id int primary key{}); select lo_create(0);
         create unlogged table \"not in the log\" (id int primary key)",
        listed.concat()
    );
    source.batch_execute(&sql).await.expect(&sql);
    let ran = pipeline.run(&["check", "--json"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let report: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let found = |check: &str| -> Vec<&str> {
        let checks = report["checks"].as_array().expect("checks").iter();
        let checks = checks.filter(|it| it["check"] == check);
        checks.filter_map(|it| it["found"].as_str()).collect()
    };
    let refused = found("column types");
    for (at, of) in columns.iter().enumerate() {
        let expected = format!("public.refused: column c{at} of type {} cannot", of.name);
        let named = refused.iter().any(|it| it.starts_with(&expected));
        assert!(named, "{expected}: {refused:#?}");
    }
    assert_eq!(refused.len(), columns.len());
    assert!(found("unlogged tables")[0].contains("public.not in the log"));
    assert!(found("large objects")[0].starts_with("1, which"));
    // Capture says the same.
    let capture = pipeline.cdc();
    capture.printed("cannot be sent in binary").await;
}

/// As `lockstep topics` shows values.
const FIXED_OUTPUT: &str =
    "set datestyle = 'ISO'; set intervalstyle = 'postgres'; set timezone = 'UTC';
    set extra_float_digits = 1; set bytea_output = 'hex'";

/// Built-in types whose text depends on the source's settings or catalog, or that nobody uses.
const AS_IMAGES: [&str; 15] = [
    "money",
    "regclass",
    "regcollation",
    "regconfig",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
    "pg_snapshot",
    "tsquery",
    "txid_snapshot",
];

/// The records of rows that were created or read, once there are so many.
async fn records(pipeline: &Pipeline, table: &str, count: usize) -> Vec<Value> {
    let topic = format!("public.{table}");
    wait::until("all rows are in the topic", async || {
        let mut place = vec!["--earliest".to_owned()];
        let mut records = Vec::new();
        loop {
            let mut arguments = vec!["topics", "records", "--json", &topic, "--limit=100"];
            arguments.extend(place.iter().map(String::as_str));
            let said = pipeline.run(&arguments).await.well();
            let mut page: Value = serde_json::from_str(&said).expect("JSON");
            records.append(page["records"].as_array_mut().expect("records"));
            match page["newer"].as_str() {
                Some(newer) => place = vec!["--at".to_owned(), newer.to_owned()],
                None => break,
            }
        }
        records.retain(|record| record["after"].is_object());
        match records.len() == count {
            true => Ok(records),
            false => Err(records.len()),
        }
    })
    .await
}

fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Bool(true) => Some("t".to_owned()),
        Value::Bool(false) => Some("f".to_owned()),
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Tables with a column for each type, and keys of each type that a key can be of.
struct Load<'a> {
    source: &'a Connection,
    types: &'a Types,
    columns: Vec<&'a PgType>,
    tables: Vec<Table>,
    random: &'a mut Random,
    rows: u64,
}

impl<'a> Load<'a> {
    async fn new(
        source: &'a Connection,
        types: &'a Types,
        columns: Vec<&'a PgType>,
        random: &'a mut Random,
    ) -> Self {
        let mut load = Self {
            source,
            types,
            columns,
            tables: Vec::new(),
            random,
            rows: 0,
        };
        let all: Vec<usize> = (0..load.columns.len()).collect();
        let mut keys = Vec::new();
        for at in &all {
            if load.can_be_key(*at).await {
                keys.push(*at);
            }
        }
        println!("{} of them in keys", keys.len());
        for (number, types) in all.chunks(WIDTH).enumerate() {
            load.create(format!("values_{number}"), types, false).await;
        }
        for (number, types) in keys.chunks(KEY_WIDTH).enumerate() {
            load.create(format!("keys_{number}"), types, true).await;
        }
        load
    }

    /// Asks Postgres. Rows of its own catalog are not asked for: they are many, and all alike.
    async fn can_be_key(&mut self, at: usize) -> bool {
        let of = self.columns[at];
        if of.is_catalog_row() {
            return false;
        }
        let mut sql = format!(
            "create temp table k (k {} primary key) on commit drop;",
            of.name
        );
        // An array is compared only as far as it has elements.
        for _ in 0..16 {
            let insert = format!("insert into k values ({})", self.value(at, Size::Key));
            sql += &format!("{insert} on conflict do nothing; ");
            sql += &format!("{insert} on conflict do nothing; ");
        }
        match self.source.batch_execute(&sql).await {
            Ok(()) => true,
            Err(error) => {
                let none = [SqlState::UNDEFINED_OBJECT, SqlState::UNDEFINED_FUNCTION];
                let code = error.code().expect("an answer");
                assert!(none.contains(code), "{}: {error:?}", of.name);
                false
            }
        }
    }

    /// Tables with odd numbers have no key: the whole row tells which is meant.
    async fn create(&mut self, name: String, types: &[usize], is_key: bool) {
        let columns: Vec<String> = types
            .iter()
            .map(|at| format!(", c{at} {}", self.columns[*at].name))
            .collect();
        let names: Vec<String> = types.iter().map(|at| format!("c{at}")).collect();
        let columns = columns.concat();
        let sql = match (is_key, name.ends_with(['1', '3', '5', '7', '9'])) {
            (true, _) => format!(
                "create table {name} (id int{columns}, primary key ({}))",
                names.join(", ")
            ),
            (false, false) => format!("create table {name} (id int primary key{columns})"),
            (false, true) => format!(
                "create table {name} (id int{columns}); alter table {name} replica identity full"
            ),
        };
        self.source.batch_execute(&sql).await.expect(&sql);
        self.tables.push(Table {
            name,
            types: types.to_vec(),
            is_key,
        });
    }

    fn value(&mut self, at: usize, size: Size) -> String {
        let value = self.types.value(self.columns[at], self.random, size);
        value.expect("make a value")
    }

    /// Rows with values in all columns, and one without any.
    async fn insert(&mut self) {
        let values = setting::number("VALUES", 4);
        for number in 0..self.tables.len() {
            for _ in 0..values {
                self.rows += 1;
                let table = &self.tables[number];
                let (name, types, is_key) = (table.name.clone(), table.types.clone(), table.is_key);
                let size = if is_key { Size::Key } else { Size::Any };
                let row: Vec<String> = types.iter().map(|at| self.value(*at, size)).collect();
                let sql = format!(
                    "insert into {name} values ({}, {}) on conflict do nothing",
                    self.rows,
                    row.join(", ")
                );
                let done = self.source.batch_execute(&sql).await;
                done.unwrap_or_else(|error| panic!("{error:?}: {sql:.2000}"));
            }
            self.rows += 1;
            let table = &self.tables[number];
            if !table.is_key {
                let sql = format!("insert into {} (id) values ({})", table.name, self.rows);
                self.source.batch_execute(&sql).await.expect(&sql);
            }
        }
    }

    /// What the topics show is what Postgres prints.
    async fn compare_texts(&self, pipeline: &Pipeline) {
        self.source.batch_execute(FIXED_OUTPUT).await.expect("set");
        let mut compared = BTreeSet::new();
        for table in self.tables.iter().filter(|table| !table.is_key) {
            let printed = self.printed(table).await;
            let created = records(pipeline, &table.name, printed.len()).await;
            for record in created {
                let id = record["after"]["id"].as_i64().expect("a number");
                let is_in = |names: &Value, column: &str| {
                    let mut names = names.as_array().into_iter().flatten();
                    names.any(|name| name == column)
                };
                for (at, text) in table.types.iter().zip(&printed[&id]) {
                    let column = format!("c{at}");
                    if is_in(&record["images"], &column) {
                        continue;
                    }
                    let name = &self.columns[*at].name;
                    let shown = shown(&record["after"][&column]);
                    let is_cut = is_in(&record["cut"], &column);
                    let same = match (&shown, text) {
                        (Some(start), Some(text)) if is_cut => text.starts_with(start.as_str()),
                        _ => shown == *text,
                    };
                    assert!(same, "{name}: {shown:?}, not {text:?}");
                    if text.is_some() {
                        compared.insert(name.as_str());
                    }
                }
            }
        }
        println!("{} types as text", compared.len());
        let unnamed: BTreeSet<&str> = self
            .built_in()
            .filter(|it| !compared.contains(it))
            .collect();
        assert_eq!(unnamed, BTreeSet::from(AS_IMAGES));
    }

    /// Base types of Postgres itself.
    fn built_in(&self) -> impl Iterator<Item = &'a str> {
        let base = self.columns.iter().filter(|of| of.is_built_in());
        base.map(|of| of.name.as_str())
    }

    async fn printed(&self, table: &Table) -> BTreeMap<i64, Vec<Option<String>>> {
        let texts: Vec<String> = table
            .types
            .iter()
            .map(|at| format!("case num_nulls(c{at}) when 0 then format('%s', c{at}) end"))
            .collect();
        let sql = format!("select id, array[{}] from {}", texts.join(", "), table.name);
        let rows = self.source.query(&sql, &[]).await.expect(&sql);
        let rows = rows.iter();
        rows.map(|row| (row.get::<_, i32>(0).into(), row.get(1)))
            .collect()
    }

    /// Rows get the values of others, lose them, change their key, go.
    async fn update(&mut self) {
        for table in &self.tables {
            let name = &table.name;
            let sql = match table.is_key {
                true => format!(
                    "update {name} set id = -id where id % 2 = 0; delete from {name} where id % 3 = 0"
                ),
                false => {
                    let sets: Vec<String> = table
                        .types
                        .iter()
                        .map(|at| format!("c{at} = o.c{at}"))
                        .collect();
                    format!(
                        "update {name} t set {} from {name} o where t.id = o.id + 1 and t.id % 2 = 0;
                         update {name} set id = -id where id % 3 = 0;
                         delete from {name} where id % 5 = 0",
                        sets.join(", ")
                    )
                }
            };
            self.source.batch_execute(&sql).await.expect(&sql);
        }
    }
}
