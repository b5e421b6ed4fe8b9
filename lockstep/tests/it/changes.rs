//! Statements and publications of every kind. What arrives is compared byte for byte.

use testkit::postgres::{Connection, Server, database};
use testkit::process::Process;
use testkit::{compare, wait};

use crate::pipeline::Pipeline;

/// A pipeline over a server of its own, since event triggers concern nobody else, which publishes what
/// `publication` says: `for all tables`.
struct Running {
    pipeline: Pipeline,
    source: Connection,
    target: Connection,
    _services: [Process; 2],
    _server: Server,
}

impl Running {
    async fn with(tables: &str, publication: &str) -> Self {
        let server = Server::start(&[]).await;
        let pipeline = Pipeline::between(server.database().await, database().await).await;
        let source = pipeline.source.client().await;
        let publish = format!("create publication \"{}\" {publication}", pipeline.name());
        for made in [tables, &publish] {
            source.batch_execute(made).await.expect(made);
        }
        pipeline.run(&["setup"]).await.well();
        let services = [pipeline.cdc(), pipeline.applier()];
        pipeline.streaming().await;
        Self {
            target: pipeline.target.client().await,
            pipeline,
            source,
            _services: services,
            _server: server,
        }
    }

    /// Each a transaction of its own, but for those between `begin` and `commit`.
    async fn run(&self, statements: &[&str]) {
        for statement in statements {
            self.source.batch_execute(statement).await.expect(statement);
        }
    }

    async fn publish(&self, change: &str) {
        let alter = format!("alter publication \"{}\" {change}", self.pipeline.name());
        self.source.batch_execute(&alter).await.expect(&alter);
    }

    async fn equal(&self, tables: &[&str]) {
        compare::until_tables_are_equal(&self.source, &self.target, tables).await;
    }

    async fn counted(&self, query: &str, expected: i64) {
        wait::until(query, async || {
            let row = self.target.query_one(query, &[]).await;
            match row.map_err(|error| format!("{error:?}"))?.get::<_, i64>(0) {
                count if count == expected => Ok(()),
                count => Err(count.to_string()),
            }
        })
        .await;
    }
}

const FAMILY: &str = "
    create table parent (id int primary key, v text);
    create table child (id int primary key, parent int references parent, v text);
    create table grandchild (id bigserial primary key, child int references child);
    create table stranger (id int primary key, v text);
    create table by_index (id int, code text not null, big text, note text);
    create unique index by_index_key on by_index (code);
    alter table by_index alter big set storage external;
    alter table by_index replica identity using index by_index_key;
    insert into parent select i, 'p' from generate_series(1, 50) i;
    insert into child select i, i, 'c' from generate_series(1, 50) i;";

#[tokio::test(flavor = "multi_thread")]
async fn truncations_copies_and_merges_arrive_as_they_were_done() {
    let running = Running::with(FAMILY, "for all tables").await;
    running
        .run(&[
            "insert into grandchild (child) select i from generate_series(1, 50) i",
            "copy stranger from program 'seq -f \"%g copied\" 1 2000' (delimiter ' ')",
            "begin; truncate parent, stranger restart identity cascade;
             insert into parent values (1, 'after'); insert into child values (1, 1, 'after');
             insert into grandchild (child) values (1); truncate stranger;
             insert into stranger values (1, 'left'); commit",
            "begin; savepoint a; truncate parent cascade; rollback to a;
             insert into stranger values (2, 'kept'); commit",
            "insert into stranger select i, 'x' from generate_series(1, 100) i
                 on conflict (id) do update set v = stranger.v || excluded.v",
            "merge into stranger s using (select i from generate_series(50, 150) i) n on s.id = n.i
                 when matched and n.i % 2 = 0 then delete
                 when matched then update set v = 'merged', id = -s.id
                 when not matched then insert values (n.i, 'new')",
            "insert into by_index select i, 'c' || i, repeat(chr(65 + i), 5000), 'n'
                 from generate_series(1, 40) i",
            "update by_index set note = 'big stays' where id % 2 = 0",
            "update by_index set code = code || '!' where id % 3 = 0",
            "update by_index set id = null, code = 'moved' || code where id % 5 = 0",
            "begin; update stranger set v = 'a' where id = 1; delete from stranger where id = 1;
             insert into stranger values (1, 'b'); update stranger set id = 1000 where id = 1;
             update stranger set v = 'c' where id = 1000; commit",
        ])
        .await;
    let tables = [
        "public.parent",
        "public.child",
        "public.grandchild",
        "public.stranger",
        "public.by_index",
    ];
    running.equal(&tables).await;
    running.pipeline.run(&["verify"]).await.well();
}

/// Postgres refuses to update and delete their rows, so capture does not ask for an identity.
#[tokio::test(flavor = "multi_thread")]
async fn rows_without_an_identity_are_inserted() {
    let tables = "create table log (at int primary key, v text);
                  alter table log replica identity nothing;
                  insert into log values (0, 'before')";
    let running = Running::with(tables, "for all tables").await;
    running
        .run(&[
            "insert into log select i, 'x' from generate_series(1, 500) i",
            "begin; insert into log values (501, 'y'); savepoint a;
             insert into log values (502, 'z'); rollback to a; commit",
        ])
        .await;
    running.equal(&["public.log"]).await;
    running
        .source
        .batch_execute("update log set v = 'no'")
        .await
        .expect_err("there is no identity");
    running
        .run(&["truncate log", "insert into log values (1, 'again')"])
        .await;
    running.equal(&["public.log"]).await;
    let said = running.pipeline.run(&["check"]).await;
    let line = "public.log needs none: inserts only";
    assert!(said.stdout.contains(line), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_published_operations_arrive() {
    let tables = "create table t (id int primary key, v text); insert into t values (0, 'old')";
    let running = Running::with(tables, "for table t with (publish = 'insert, delete')").await;
    running
        .run(&[
            "insert into t values (1, 'a'), (2, 'b')",
            "update t set v = 'unseen'",
            "delete from t where id = 1",
            "insert into t values (3, 'c')",
        ])
        .await;
    running
        .counted("select count(*) from t where id in (0, 2, 3)", 3)
        .await;
    running
        .counted("select count(*) from t where v = 'unseen'", 0)
        .await;
    running
        .run(&["truncate t", "insert into t values (4, 'd')"])
        .await;
    running.counted("select count(*) from t", 4).await;
}

const PARTITIONS: &str = "
    create table root (id int, at date, v text, primary key (id, at)) partition by range (at);
    create table y1 partition of root for values from ('2001-01-01') to ('2002-01-01');
    create table y2 partition of root for values from ('2002-01-01') to ('2003-01-01')
        partition by list (id);
    create table y2_rest partition of y2 default;
    create table ready (id int not null, at date not null, v text, primary key (id, at));
    insert into root select i, date '2001-01-01' + i % 700, 'first' from generate_series(1, 700) i;
    insert into ready select i, date '2003-01-01' + i % 300, 'ready' from generate_series(1, 900) i;";

/// Rows come and go by the root and by the leaves, move between these, and leaves come and go.
const MOVES: &[&str] = &[
    "insert into root values (1001, '2001-02-02', 'root'), (1002, '2002-02-02', 'root')",
    "insert into y1 values (1003, '2001-03-03', 'leaf')",
    "insert into y2_rest values (1004, '2002-03-03', 'leaf')",
    "update root set at = at + 365 where id % 3 = 0 and at < '2002-01-01'",
    "update y1 set v = 'changed' where id % 2 = 0",
    "delete from root where id % 11 = 0",
    "begin; alter table root attach partition ready for values from ('2003-01-01') to ('2004-01-01');
     update root set v = 'attached' where at > '2003-01-05' and at < '2003-01-09'; commit",
    "insert into root values (2001, '2003-05-05', 'through the root')",
    "update root set at = '2001-05-05' where id between 900 and 950 and at >= '2003-01-01'",
    "truncate y1",
    "insert into root values (3001, '2001-05-05', 'again')",
    "alter table root detach partition y1",
    "create table y0 partition of root for values from ('2000-01-01') to ('2001-01-01')",
    "insert into root select i, '2000-07-07', 'new' from generate_series(4001, 4100) i",
    "update root set at = '2002-07-07' where id between 4050 and 4060",
];

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_followed_as_leaves() {
    let running = Running::with(PARTITIONS, "for all tables").await;
    running.run(MOVES).await;
    running
        .run(&["insert into y1 values (1, '1999-01-01', 'alone')"])
        .await;
    let tables = ["public.y0", "public.y1", "public.y2_rest", "public.ready"];
    running.equal(&tables).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_followed_through_their_root() {
    let through = "for table root with (publish_via_partition_root)";
    let running = Running::with(PARTITIONS, through).await;
    running.run(MOVES).await;
    let tables = ["public.y0", "public.y2_rest", "public.ready"];
    running.equal(&tables).await;
    running
        .run(&[
            "alter table root detach partition ready",
            "update ready set v = 'while it was alone' where id % 2 = 0",
            "alter table root attach partition ready
                 for values from ('2003-01-01') to ('2004-01-01')",
            "update root set v = 'and again' where id % 5 = 0",
        ])
        .await;
    running.equal(&tables).await;
    let detached = "select count(*) from pg_inherits where inhrelid = 'y1'::regclass";
    running.counted(detached, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_a_schema_come_and_go_with_it() {
    let tables = "create schema one; create schema other;
                  create table one.here (id int primary key, v text);
                  create table other.there (id int primary key, v text);
                  insert into other.there select i, 'x' from generate_series(1, 300) i";
    let running = Running::with(tables, "for tables in schema one").await;
    running
        .run(&[
            "insert into one.here values (1, 'a')",
            "create table one.new (id int primary key, v text)",
            "insert into one.new values (1, 'a')",
            "insert into other.there values (0, 'unpublished')",
            "alter table other.there set schema one",
            "insert into one.there values (1001, 'published')",
        ])
        .await;
    running.equal(&["one.here", "one.new", "one.there"]).await;
    running
        .run(&[
            "alter table one.new set schema other",
            "insert into other.new values (2, 'unpublished')",
            "insert into one.here values (2, 'b')",
        ])
        .await;
    running.equal(&["one.here"]).await;
    running.publish("add tables in schema other").await;
    running
        .run(&["insert into other.new values (3, 'published again')"])
        .await;
    running.equal(&["one.here", "one.there", "other.new"]).await;
}

/// What happened meanwhile is in no log that capture reads: rows that are gone must go, too, though
/// others refer to the table.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_rejoins_the_publication_is_read_anew() {
    let tables = "create table gone (id int primary key, v text);
                  create table refers (id int primary key, gone int references gone);
                  insert into gone select i, 'old' from generate_series(1, 2500) i;
                  insert into refers values (1, 2000)";
    let running = Running::with(tables, "for table gone, refers").await;
    running.equal(&["public.gone", "public.refers"]).await;
    running.publish("drop table gone").await;
    running
        .run(&[
            "delete from gone where id < 1000",
            "update gone set v = 'changed' where id % 2 = 0",
            "insert into gone values (5000, 'new')",
        ])
        .await;
    running.publish("add table gone").await;
    running
        .run(&[
            "insert into gone values (5001, 'seen')",
            "delete from gone where id between 1500 and 1600",
        ])
        .await;
    running.equal(&["public.gone", "public.refers"]).await;
    running.pipeline.run(&["verify"]).await.well();
}
