//! A storm of random changes of tables and of rows, in transactions that end one way or the other:
//! in the end both sides hold the same rows and the same definitions.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use testkit::postgres::Connection;
use testkit::random::Random;
use testkit::setting;

use crate::schema_changes::{same, started};

/// `LOCKSTEP_TEST_STORM_SECONDS` and `LOCKSTEP_TEST_SEED` change it; `make prove` takes ten minutes.
const SECONDS: u64 = 30;
const SEED: u64 = 2026;

#[tokio::test(flavor = "multi_thread")]
async fn after_a_storm_both_sides_hold_the_same() {
    let (_server, pipeline, _services) = started(&[]).await;
    let seed = setting::number("SEED", SEED);
    let seconds = setting::number("STORM_SECONDS", SECONDS);
    println!("seed {seed}, {seconds} s");
    let until = Instant::now() + Duration::from_secs(seconds);
    let both = [(0, true), (1, false)].map(|(which, changes_tables)| Storm {
        random: Random::new(seed + which),
        changes_tables,
        serial: 0,
    });
    let [mut changer, mut writer] = both;
    let clients = [
        pipeline.source.client().await,
        pipeline.source.client().await,
    ];
    let start = "create schema storm_0; create type storm_0.mood as enum ('a', 'b')";
    clients[0]
        .batch_execute(start)
        .await
        .expect("begin a storm");
    let (changed, written) = tokio::join!(
        changer.rage(&clients[0], until),
        writer.rage(&clients[1], until)
    );
    println!("tables and rows: {changed:?}; rows only: {written:?}");
    assert!(changed.committed > 0 && written.committed > 0);
    let target = pipeline.target.client().await;
    pipeline.caught_up(&clients[0], &target).await;
    let held =
        "select table_schema || '.' || table_name || ': ' || reason from lockstep.held_tables";
    let held = target
        .query(held, &[])
        .await
        .expect("ask which tables are held");
    let held: Vec<String> = held.iter().map(|row| row.get(0)).collect();
    assert_eq!(held, Vec::<String>::new());
    same(&pipeline).await;
    pipeline.run(&["verify"]).await.well();
}

#[derive(Debug, Default)]
struct Counts {
    committed: usize,
    rolled_back: usize,
    /// Transactions with a statement that the source refused.
    refused: usize,
    statements: usize,
}

struct Storm {
    random: Random,
    changes_tables: bool,
    /// Names are given once.
    serial: usize,
}

struct Table {
    name: String,
    schema: String,
    is_partitioned: bool,
    is_partition: bool,
    columns: Vec<Column>,
}

struct Column {
    name: String,
    type_name: String,
    in_key: bool,
    is_generated: bool,
}

const TABLES: &str = "
select quote_ident(n.nspname) || '.' || quote_ident(c.relname), quote_ident(n.nspname),
       c.relkind = 'p', c.relispartition,
       array(select quote_ident(a.attname) from pg_attribute a
              where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum),
       array(select format_type(a.atttypid, a.atttypmod) from pg_attribute a
              where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum),
       array(select exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary
                                    and a.attnum = any (i.indkey::int2[])) from pg_attribute a
              where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum),
       array(select a.attgenerated <> '' from pg_attribute a
              where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum)
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where n.nspname like 'storm%' and c.relkind in ('r', 'p') order by 1";

async fn tables(client: &Connection) -> Vec<Table> {
    let rows = client.query(TABLES, &[]).await.expect("list the tables");
    let table = |row: &tokio_postgres::Row| {
        let (names, types): (Vec<String>, Vec<String>) = (row.get(4), row.get(5));
        let (keys, generated): (Vec<bool>, Vec<bool>) = (row.get(6), row.get(7));
        let parts = names.into_iter().zip(types).zip(keys).zip(generated);
        let column = |(((name, type_name), in_key), is_generated)| Column {
            name,
            type_name,
            in_key,
            is_generated,
        };
        Table {
            name: row.get(0),
            schema: row.get(1),
            is_partitioned: row.get(2),
            is_partition: row.get(3),
            columns: parts.map(column).collect(),
        }
    };
    rows.iter().map(table).collect()
}

impl Storm {
    async fn rage(&mut self, client: &Connection, until: Instant) -> Counts {
        let mut counts = Counts::default();
        while Instant::now() < until {
            client.batch_execute("begin").await.expect("begin");
            let mut is_refused = false;
            for _ in 0..=self.random.below(6) {
                let Some(statement) = self.statement(client).await else {
                    continue;
                };
                counts.statements += 1;
                if client.batch_execute(&statement).await.is_err() {
                    is_refused = true;
                    break;
                }
            }
            let end = match is_refused || self.random.one_in(8) {
                true => "rollback",
                false => "commit",
            };
            // A deferred refusal at the commit rolls back, too.
            let ended = client.batch_execute(end).await;
            match (end, is_refused || ended.is_err()) {
                (_, true) => counts.refused += 1,
                ("commit", false) => counts.committed += 1,
                (_, false) => counts.rolled_back += 1,
            }
        }
        counts
    }

    /// None where there is nothing to choose from.
    async fn statement(&mut self, client: &Connection) -> Option<String> {
        let tables = tables(client).await;
        let changes_table = self.changes_tables && self.random.one_in(2);
        if self.changes_tables && tables.len() < 4 {
            return Some(self.create());
        }
        if tables.is_empty() {
            // The other one has made none yet.
            tokio::task::yield_now().await;
            return None;
        }
        let table = self.random.pick(&tables);
        let statement = match changes_table {
            true if self.random.one_in(4) => self.change_of_others(&tables, table),
            true => self.change(table),
            false => self.write(table),
        };
        // Some are undone within a transaction that goes on.
        Some(match self.random.one_in(10) {
            true => format!("savepoint s; {statement}; rollback to savepoint s"),
            false => statement,
        })
    }

    fn fresh(&mut self, kind: &str) -> String {
        self.serial += 1;
        format!("{kind}_{}", self.serial)
    }

    fn write(&mut self, table: &Table) -> String {
        let name = &table.name;
        let rows = match self.random.one_in(20) {
            true => 500,
            false => 1 + self.random.below(10),
        };
        let free: Vec<&Column> = table.columns.iter().filter(|it| !it.is_generated).collect();
        if free.is_empty() {
            return format!("insert into {name} default values");
        }
        let some =
            format!("ctid in (select ctid from only {name} where random() < 0.3 limit {rows})");
        match self.random.below(20) {
            0 => format!("truncate {name}"),
            1..=3 if !table.is_partitioned => format!("delete from only {name} where {some}"),
            4..=10 if !table.is_partitioned => {
                let column = *self.random.pick(&free);
                let value = self.value(&column.type_name);
                // Keys change seldom: most of these meet another row's.
                match column.in_key && !self.random.one_in(4) {
                    true => format!("update {name} set {0} = {0} where {some}", column.name),
                    false => format!(
                        "update only {name} set {} = {value} where {some}",
                        column.name
                    ),
                }
            }
            _ => {
                let (mut columns, mut values) = (Vec::new(), Vec::new());
                for column in free {
                    columns.push(column.name.as_str());
                    values.push(self.value(&column.type_name));
                }
                format!(
                    "insert into {name} ({}) select {} from generate_series(1, {rows}) n \
                     on conflict do nothing",
                    columns.join(", "),
                    values.join(", ")
                )
            }
        }
    }

    /// An expression that is evaluated for each row.
    fn value(&mut self, type_name: &str) -> String {
        let big = match self.random.one_in(6) {
            true => 300,
            false => 1,
        };
        let value = match type_name {
            "smallint" | "integer" | "bigint" => "(random() * 30000)::int".to_owned(),
            "real" | "double precision" => "(random() * 1000)::float8".to_owned(),
            "boolean" => "random() < 0.5".to_owned(),
            "date" => "'2026-01-01'::date + (random() * 700)::int".to_owned(),
            "timestamp with time zone" => "clock_timestamp()".to_owned(),
            "uuid" => "gen_random_uuid()".to_owned(),
            "bytea" => format!("decode(repeat(md5(random()::text), {big}), 'hex')"),
            "jsonb" => format!("jsonb_build_object('a', random(), 'b', repeat('x', {big}))"),
            "text[]" => "array[md5(random()::text), null, '']".to_owned(),
            of if of.starts_with("numeric") => "round((random() * 10000)::numeric, 2)".to_owned(),
            of if of.starts_with("character varying") => "left(md5(random()::text), 20)".to_owned(),
            of if of.contains("mood") => {
                format!("(enum_range(null::{of}))[1 + (random() * 1)::int]")
            }
            _ => format!("repeat(md5(random()::text), {big})"),
        };
        match self.random.one_in(10) {
            true => "null".to_owned(),
            false => value,
        }
    }

    fn new_column(&mut self) -> String {
        const TYPES: [&str; 17] = [
            "smallint",
            "int",
            "bigint",
            "real",
            "float8",
            "boolean",
            "date",
            "timestamptz",
            "uuid",
            "bytea",
            "jsonb",
            "text[]",
            "numeric(12,3)",
            "numeric",
            "varchar(40)",
            "text",
            "storm_0.mood",
        ];
        let type_name = *self.random.pick(&TYPES);
        let name = match self.random.one_in(5) {
            true => format!("\"{}\"", self.fresh("Ö c")),
            false => self.fresh("c"),
        };
        let default = match (self.random.below(6), type_name) {
            (0, "int" | "bigint" | "numeric") => " not null default 7",
            (1, "int" | "bigint" | "float8" | "text") => " default random() * 100",
            (2, "text" | "varchar(40)") => " not null default 'it''s'",
            (3, "timestamptz") => " default now()",
            (4, "int" | "bigint") => " generated always as (length(md5('x'))) stored",
            (_, "uuid") => " default gen_random_uuid()",
            _ => "",
        };
        format!("{name} {type_name}{default}")
    }

    fn create(&mut self) -> String {
        const KEYS: [&str; 5] = [
            "id int primary key",
            "id bigint generated by default as identity primary key",
            "id text primary key",
            "id bigserial primary key",
            "id uuid primary key default gen_random_uuid()",
        ];
        let name = self.fresh("storm_0.t");
        let mut columns = String::new();
        for _ in 0..=self.random.below(5) {
            write!(columns, ", {}", self.new_column()).expect("a string");
        }
        if self.random.one_in(4) {
            return format!(
                "create table {name} (id int not null, part int not null{columns}, primary key (id, part))
                     partition by range (part);
                 create table {name}_a partition of {name} for values from (minvalue) to (10000);
                 create table {name}_b partition of {name} for values from (10000) to (20000);
                 create table {name}_c partition of {name} default"
            );
        }
        if self.random.one_in(6) {
            return format!(
                "create table {name} (id int{columns}); alter table {name} replica identity full"
            );
        }
        format!("create table {name} ({}{columns})", self.random.pick(&KEYS))
    }

    /// Of one table's columns, constraints and indexes.
    fn change(&mut self, table: &Table) -> String {
        let name = &table.name;
        let others = table
            .columns
            .iter()
            .filter(|it| !it.in_key && !it.is_generated);
        let others: Vec<&Column> = others.collect();
        let kind = self.random.below(14);
        if kind < 4 || others.is_empty() {
            let column = self.new_column();
            // Rows without a key cannot be read again, for values that the log does not tell.
            let column = match table.columns.iter().any(|it| it.in_key) {
                true => column.as_str(),
                false => column.split(" default").next().expect("a name"),
            };
            return format!("alter table {name} add column {column}");
        }
        let column = *self.random.pick(&others);
        let named = &column.name;
        match kind {
            4 | 5 => format!("alter table {name} drop column {named}"),
            6 => format!(
                "alter table {name} rename column {named} to {}",
                self.fresh("r")
            ),
            7 => {
                let wider = match column.type_name.as_str() {
                    "smallint" => "int",
                    "integer" => "bigint",
                    "real" => "float8",
                    "numeric(12,3)" => "numeric(15,3)",
                    "character varying(40)" => "varchar(80)",
                    // To the same type it gives new names to the indexes of partitions, which nobody
                    // tells: they are their parents'.
                    _ => return format!("alter table {name} replica identity full"),
                };
                format!("alter table {name} alter column {named} type {wider}")
            }
            8 => {
                let value = self.value(&column.type_name);
                format!("alter table {name} alter column {named} set default {value}")
            }
            9 => format!("alter table {name} alter column {named} drop default"),
            10 => format!(
                "update {name} set {named} = {} where {named} is null;
                 alter table {name} alter column {named} set not null",
                self.value(&column.type_name)
            ),
            11 => format!("alter table {name} alter column {named} drop not null"),
            12 => {
                let constraint = self.fresh("k");
                format!(
                    "alter table {name} add constraint {constraint} check ({named} is distinct from null or true)"
                )
            }
            _ => {
                let index = self.fresh("i");
                format!("create index {index} on {name} ({named})")
            }
        }
    }

    /// Of tables among others.
    fn change_of_others(&mut self, all: &[Table], table: &Table) -> String {
        let name = &table.name;
        let schema = &table.schema;
        match self.random.below(10) {
            0 | 1 => self.create(),
            2 if all.len() > 6 && !table.is_partition => format!("drop table {name} cascade"),
            3 => format!("alter table {name} rename to {}", self.fresh("t")),
            4 => {
                let schema = self.fresh("storm");
                format!("create schema {schema}; alter table {name} set schema {schema}")
            }
            5 if schema != "storm_0" => {
                format!("alter schema {schema} rename to {}", self.fresh("storm"))
            }
            6 => {
                let value = self.fresh("m");
                format!("alter type storm_0.mood add value '{value}'")
            }
            7 => {
                let other = self.random.pick(all);
                let key: Vec<&Column> = other.columns.iter().filter(|it| it.in_key).collect();
                match key.as_slice() {
                    [key] => format!(
                        "alter table {name} add column {} {} references {} on delete set null",
                        self.fresh("f"),
                        key.type_name,
                        other.name
                    ),
                    _ => self.create(),
                }
            }
            8 if table.is_partition => {
                let parent = all.iter().find(|it| {
                    it.is_partitioned && it.schema == *schema && name.starts_with(&it.name)
                });
                match parent {
                    Some(parent) => format!("alter table {} detach partition {name}", parent.name),
                    None => self.create(),
                }
            }
            9 if schema != "storm_0" => format!("drop schema {schema} cascade"),
            _ => format!("alter table {name} replica identity full"),
        }
    }
}
