//! Random transactions of a bank and its odder relatives, repeated by their seed.
//!
//! What a checker can hold against a target that follows: the sum of the balances never changes
//! ([`TOTAL`]); of each client's ledger entries a prefix is visible, as each client commits one
//! transaction after the other; and at rest all [`TABLES`] are equal, byte for byte.

use std::fmt::Write as _;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::random::Random;

/// All tables of the load, as [`crate::compare::tables`] takes them.
pub const TABLES: [&str; 7] = [
    "public.accounts",
    "public.documents",
    "public.events",
    "public.ledger",
    "public.pairs",
    "public.scratch",
    "public.transfers",
];

/// `select sum(balance)::bigint from accounts` at any time.
pub const TOTAL: i64 = ACCOUNTS * 1000;

const ACCOUNTS: i64 = 50;

/// Bodies lie outside the row and uncompressed, so that updates of other columns leave them out.
const SETUP: &str = "
    create table accounts (id int primary key, owner text not null, balance bigint not null);
    create table transfers (client int, seq bigint, source int not null, target int not null,
                            amount bigint not null, primary key (client, seq));
    create table ledger (client int, seq bigint, primary key (client, seq));
    create table documents (id bigint primary key, client int not null, title text, body text,
                            tags text[], meta jsonb, price numeric, at timestamptz);
    alter table documents alter body set storage external;
    create table events (client int, at timestamptz, note text, n float8);
    alter table events replica identity full;
    create table pairs (a int, b text, n int, primary key (a, b));
    create table scratch (id bigint primary key, note text);
    insert into accounts select i, 'owner ' || i, 1000 from generate_series(1, 50) i;";

/// Values that are easily lost on the way, as SQL literals.
const PRICES: [&str; 6] = [
    "0",
    "-0.00",
    "1e-20",
    "'NaN'",
    "12345678901234567890.123456789",
    "null",
];
const TIMES: [&str; 5] = [
    "'2026-02-28 23:59:59.999999+00'",
    "'infinity'",
    "'-infinity'",
    "'0044-03-15 12:00:00+00 BC'",
    "null",
];
const TAGS: [&str; 5] = [
    "'{}'",
    "'{a,null,\"\"}'",
    "'{{a,b},{c,d}}'",
    "'[2:3]={x,y}'",
    "null",
];
const NUMBERS: [&str; 6] = ["'nan'", "'infinity'", "'-0'", "0.1", "5e-324", "null"];
const NOTES: [&str; 5] = [
    "''",
    "'plain'",
    "'tab\\t \\\\N \\\\.'",
    "'Grüße 🐘'",
    "null",
];

/// Creates the tables in an empty database.
///
/// # Errors
/// As Postgres.
pub async fn setup(client: &Client) -> Result<(), tokio_postgres::Error> {
    client.batch_execute(SETUP).await
}

/// The load of one of several clients.
#[derive(Clone, Debug)]
pub struct Workload {
    random: Random,
    client: u32,
    seq: u64,
}

/// One transaction, to be run as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// In the ledger when, and only when, it commits.
    pub seq: u64,
    /// Statements from `begin` to `commit` or `rollback`.
    pub sql: String,
    pub commits: bool,
}

/// How the transactions of a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Their `seq`, in the order of their commits.
    pub committed: Vec<u64>,
    pub rolled_back: u64,
    /// Ended by Postgres, as a deadlock of two clients.
    pub failed: u64,
}

impl Workload {
    /// Clients that run at the same time have different numbers, and may have the same seed.
    pub fn new(seed: u64, client: u32) -> Self {
        Self {
            random: Random::new(seed ^ (u64::from(client) << 32)),
            client,
            seq: 0,
        }
    }

    /// Runs so many transactions, one after the other.
    ///
    /// # Errors
    /// As Postgres, but for deadlocks and serialization failures, which are counted.
    pub async fn run(
        &mut self,
        client: &Client,
        transactions: u32,
    ) -> Result<Outcome, tokio_postgres::Error> {
        let mut outcome = Outcome::default();
        for _ in 0..transactions {
            let transaction = self.transaction();
            match client.batch_execute(&transaction.sql).await {
                Ok(()) if transaction.commits => outcome.committed.push(transaction.seq),
                Ok(()) => outcome.rolled_back += 1,
                Err(error) if gave_way(&error) => {
                    client.batch_execute("rollback").await?;
                    outcome.failed += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(outcome)
    }

    /// The next transaction.
    pub fn transaction(&mut self) -> Transaction {
        self.seq += 1;
        let (client, seq) = (self.client, self.seq);
        let mut sql = format!("begin; insert into ledger values ({client}, {seq});\n");
        // Rising account numbers keep two clients from waiting for each other.
        if !self.random.one_in(3) {
            self.transfer(&mut sql);
        }
        for _ in 0..=self.random.below(4) {
            self.step(&mut sql);
        }
        let commits = !self.random.one_in(10);
        sql.push_str(if commits { "commit" } else { "rollback" });
        Transaction { seq, sql, commits }
    }

    /// One change, sometimes in a subtransaction that is kept or undone.
    fn step(&mut self, sql: &mut String) {
        let nested = self.random.one_in(5);
        if nested {
            sql.push_str("savepoint s;\n");
        }
        match self.random.below(10) {
            0..=3 => self.document(sql),
            4..=6 => self.event(sql),
            7..=8 => self.pair(sql),
            _ => self.scratch(sql),
        }
        if nested {
            let undone = self.random.one_in(2);
            sql.push_str(if undone {
                "rollback to s;\n"
            } else {
                "release s;\n"
            });
        }
    }

    fn transfer(&mut self, sql: &mut String) {
        let accounts = ACCOUNTS.unsigned_abs();
        let low = 1 + self.random.below(accounts - 1);
        let high = low + 1 + self.random.below(accounts - low);
        let amount = self.random.below(100);
        let (client, seq) = (self.client, self.seq);
        let _ = write!(
            sql,
            "update accounts set balance = balance - {amount} where id = {low};
             update accounts set balance = balance + {amount} where id = {high};
             insert into transfers values ({client}, {seq}, {low}, {high}, {amount});\n"
        );
    }

    fn document(&mut self, sql: &mut String) {
        let client = self.client;
        let id = u64::from(client) * 1_000_000 + self.random.below(40);
        let title = self.random.number();
        let [price, at, tags] = [&PRICES[..], &TIMES, &TAGS].map(|of| *self.random.pick(of));
        let _ = match self.random.below(6) {
            0 => writeln!(sql, "delete from documents where id = {id};"),
            // The body stays as it is.
            1..=2 => writeln!(
                sql,
                "update documents set title = '{title}', at = {at} where id = {id};"
            ),
            3 => writeln!(
                sql,
                "update documents set price = {price}, tags = {tags} where client = {client};"
            ),
            _ => {
                let body = self.body();
                writeln!(
                    sql,
                    "insert into documents values ({id}, {client}, '{title}', {body}, {tags},
                     '{{\"n\": [{title}, null]}}', {price}, {at})
                     on conflict (id) do update set title = excluded.title, body = excluded.body;"
                )
            }
        };
    }

    /// Nothing, a short text, or up to 32 kB that do not compress.
    fn body(&mut self) -> String {
        match self.random.below(4) {
            0 => "null".to_owned(),
            1 => "''".to_owned(),
            _ => {
                let (salt, blocks) = (self.random.number(), self.random.below(1000));
                format!(
                    "(select string_agg(md5('{salt}' || i), '') from generate_series(0, {blocks}) i)"
                )
            }
        }
    }

    /// The table has no key, and holds equal rows on purpose.
    fn event(&mut self, sql: &mut String) {
        let client = self.client;
        let [at, note, n] = [&TIMES[..], &NOTES, &NUMBERS].map(|of| *self.random.pick(of));
        let some = format!("ctid in (select ctid from events where client = {client} limit 3)");
        let _ = match self.random.below(5) {
            0 => writeln!(sql, "delete from events where {some};"),
            1 => writeln!(sql, "update events set n = {n} where {some};"),
            2 => {
                let rows = self.random.below(200);
                writeln!(
                    sql,
                    "insert into events select {client}, {at}, {note}, i from generate_series(1, {rows}) i;"
                )
            }
            _ => writeln!(
                sql,
                "insert into events values ({client}, {at}, {note}, {n});"
            ),
        };
    }

    /// Keys change; the sequence number makes them new.
    fn pair(&mut self, sql: &mut String) {
        let (client, seq) = (self.client, self.seq);
        let number = self.random.below(1000);
        let one = format!("b = (select min(b) from pairs where a = {client}) and a = {client}");
        let _ = match self.random.below(4) {
            0 => writeln!(sql, "delete from pairs where {one};"),
            1 => writeln!(
                sql,
                "update pairs set b = 'moved {seq} {number}', n = {number} where {one};"
            ),
            _ => writeln!(
                sql,
                "insert into pairs values ({client}, 'new {seq} {number}', {number}) on conflict do nothing;"
            ),
        };
    }

    fn scratch(&mut self, sql: &mut String) {
        let id = u64::from(self.client) * 1_000_000_000 + self.random.below(1_000_000);
        let _ = if self.random.one_in(8) {
            writeln!(sql, "truncate scratch;")
        } else {
            writeln!(
                sql,
                "insert into scratch values ({id}, 'x') on conflict do nothing;"
            )
        };
    }
}

/// Postgres ended this transaction so that another could go on.
fn gave_way(error: &tokio_postgres::Error) -> bool {
    let given = [
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
    ];
    error.code().is_some_and(|code| given.contains(code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare;
    use crate::postgres::database;

    #[test]
    fn a_seed_repeats_its_transactions_and_clients_differ() {
        let load = |seed, client| {
            let mut workload = Workload::new(seed, client);
            (0..50).map(|_| workload.transaction()).collect::<Vec<_>>()
        };
        assert_eq!(load(1, 1), load(1, 1));
        assert_ne!(load(1, 1), load(2, 1));
        assert_ne!(load(1, 1), load(1, 2));
    }

    #[tokio::test]
    async fn the_sum_stays_and_the_ledger_tells_what_committed() {
        let database = database().await;
        let client = database.client().await;
        setup(&client).await.unwrap();
        let second = database.client().await;
        let mut loads = [Workload::new(7, 1), Workload::new(7, 2)];
        let [one, two] = &mut loads;
        let (one, two) = tokio::join!(one.run(&client, 150), two.run(&second, 150));
        for (number, outcome) in [(1, one.unwrap()), (2, two.unwrap())] {
            let ledger = "select seq from ledger where client = $1 order by seq";
            let rows = client.query(ledger, &[&number]).await.unwrap();
            let ledger: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
            let committed: Vec<i64> = outcome
                .committed
                .iter()
                .map(|it| i64::try_from(*it).unwrap())
                .collect();
            assert_eq!(ledger, committed);
            assert!(outcome.rolled_back > 0);
        }
        let sum = client
            .query_one("select sum(balance)::bigint from accounts", &[])
            .await
            .unwrap();
        assert_eq!(sum.get::<_, i64>(0), TOTAL);
        for table in TABLES {
            let count = client
                .query_one(&format!("select count(*) from {table}"), &[])
                .await
                .unwrap();
            assert!(count.get::<_, i64>(0) > 0, "{table} is empty");
        }
        compare::tables(&client, &second, &TABLES).await.unwrap();
    }
}
