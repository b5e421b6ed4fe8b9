//! The backlogs: tables, what is in them before, and what is written.

use clap::ValueEnum;

/// What the source has committed before the clock starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// 500,000 articles of about 330 bytes, ten a transaction.
    Insert,
    /// 300,000 updates of random articles, ten a transaction.
    Update,
    /// 200,000 transactions of one article.
    Small,
    /// 50,000 of pgbench's own transactions, over four tables.
    Mixed,
    /// 150,000 rows of 1.6 kB, ten a transaction.
    Wide,
    /// 1,000,000 articles in one transaction.
    Huge,
    /// No backlog: the first copy of 5,000,000 articles.
    Snapshot,
}

/// How much of a workload there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scale {
    /// Of its rows.
    pub(crate) percent: u32,
    /// Over how many tables inserts are spread.
    pub(crate) tables: u32,
}

const ARTICLES: &str = "(
    id bigint primary key,
    title text not null,
    content text not null,
    author text not null,
    status text not null default 'draft',
    views_count bigint not null default 0,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
)";

/// Rows of about `bytes` bytes with the keys `n`.
fn articles(bytes: usize) -> String {
    let lines = (bytes - 100) / 32;
    format!("select n, 'Article ' || n, repeat(md5(n::text), {lines}), 'author ' || n % 1000")
}

const COLUMNS: &str = "(id, title, content, author)";

impl Workload {
    /// As on the command line.
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value().expect("none is skipped");
        value.get_name().to_owned()
    }

    /// Changes of rows, or rows that are copied.
    pub(crate) fn changes(self, scale: Scale) -> u32 {
        let whole = match self {
            Self::Insert => 500_000,
            Self::Update => 300_000,
            // Three updates and an insert each.
            Self::Small | Self::Mixed => 200_000,
            Self::Wide => 150_000,
            Self::Huge => 1_000_000,
            Self::Snapshot => 5_000_000,
        };
        whole / 100 * scale.percent
    }

    /// Makes the tables.
    pub(crate) fn schema(self, scale: Scale) -> String {
        match self {
            Self::Mixed => PGBENCH_TABLES.to_owned(),
            _ => (0..scale.tables)
                .map(|table| format!("create table {} {ARTICLES};", name_of(table)))
                .collect(),
        }
    }

    /// Writes what is in the tables before.
    pub(crate) fn content(self, scale: Scale) -> String {
        match self {
            Self::Update | Self::Snapshot => {
                let (rows, articles) = (self.changes(scale), articles(330));
                format!(
                    "insert into articles {COLUMNS} {articles} from generate_series(1, {rows}) n"
                )
            }
            Self::Mixed => PGBENCH_ROWS.to_owned(),
            Self::Insert | Self::Small | Self::Wide | Self::Huge => String::new(),
        }
    }

    /// Writes the backlog. Nobody waits for the disk.
    pub(crate) fn backlog(self, scale: Scale) -> String {
        let changes = self.changes(scale);
        match self {
            Self::Insert => inserts(&articles(330), changes, 10, scale.tables),
            Self::Small => inserts(&articles(330), changes, 1, scale.tables),
            Self::Wide => inserts(&articles(1_600), changes, 10, scale.tables),
            Self::Huge => inserts(&articles(330), changes, changes, scale.tables),
            Self::Snapshot => String::new(),
            Self::Update => {
                let picked = format!("select 1 + (random() * ({changes} - 1))::bigint as id");
                let update = format!(
                    "update articles a set views_count = views_count + 1, \
                     title = 'Article ' || a.id || ' again', updated_at = now() \
                     from (select distinct p.id from generate_series(first, last) n, \
                           lateral ({picked} where n > 0) p) picked where a.id = picked.id"
                );
                looped(&update, changes, 10)
            }
            Self::Mixed => looped(PGBENCH_TRANSACTION, changes / 4, 1),
        }
    }
}

/// The first has the plain name.
fn name_of(table: u32) -> String {
    match table {
        0 => "articles".to_owned(),
        _ => format!("articles_{table}"),
    }
}

/// Inserts in transactions, each of which is into the next table.
fn inserts(articles: &str, rows: u32, rows_each: u32, tables: u32) -> String {
    let insert = |table| {
        let name = name_of(table);
        format!("insert into {name} {COLUMNS} {articles} from generate_series(first, last) n")
    };
    let branches = (1..tables).map(|table| format!("when {table} then {};", insert(table)));
    let statement = match tables {
        1 => insert(0),
        _ => format!(
            "case batch % {tables} {} else {}; end case",
            branches.collect::<String>(),
            insert(0)
        ),
    };
    looped(&statement, rows, rows_each)
}

/// A statement for the numbers `first` to `last` of each transaction.
fn looped(statement: &str, numbers: u32, numbers_each: u32) -> String {
    format!(
        "set synchronous_commit = off; select setseed(0.5); \
         do $$ declare first bigint; last bigint; begin \
           for batch in 0 .. {numbers} / {numbers_each} - 1 loop \
             first := batch * {numbers_each}::bigint + 1; last := first + {numbers_each} - 1; \
             {statement}; commit; \
           end loop; end $$"
    )
}

/// As `pgbench -i` at scale 5 makes them, with a key for the history.
const PGBENCH_TABLES: &str = "
    create table pgbench_branches (bid int primary key, bbalance int, filler char(88));
    create table pgbench_tellers (tid int primary key, bid int, tbalance int, filler char(84));
    create table pgbench_accounts (aid int primary key, bid int, abalance int, filler char(84));
    create table pgbench_history (id bigint generated always as identity primary key,
        tid int, bid int, aid int, delta int, mtime timestamp, filler char(22))";

const PGBENCH_ROWS: &str = "
    insert into pgbench_branches select n, 0, '' from generate_series(1, 5) n;
    insert into pgbench_tellers select n, (n - 1) / 10 + 1, 0, '' from generate_series(1, 50) n;
    insert into pgbench_accounts
    select n, (n - 1) / 100000 + 1, 0, '' from generate_series(1, 500000) n";

/// Its transaction (pgbench's manual, \"What Is the 'Transaction' Actually Performed in pgbench?\").
const PGBENCH_TRANSACTION: &str = "
    first := (random() * 10000 - 5000)::int; last := 1 + (random() * 499999)::int;
    update pgbench_accounts set abalance = abalance + first where aid = last;
    update pgbench_tellers set tbalance = tbalance + first where tid = 1 + last % 50;
    update pgbench_branches set bbalance = bbalance + first where bid = 1 + last % 5;
    insert into pgbench_history (tid, bid, aid, delta, mtime)
    values (1 + last % 50, 1 + last % 5, last, first, now())";
