//! Columns that the source generates, published or not.

use testkit::kafka;
use testkit::postgres::{Connection, Server, database};
use testkit::wait;

use crate::pipeline::Pipeline;
use crate::schema_changes::same;

/// What versions have: publications with generated columns and virtual ones since 18, another expression
/// since 17.
pub(crate) struct Version(i32);

impl Version {
    pub(crate) async fn of(client: &Connection) -> Self {
        let version = "select current_setting('server_version_num')::int";
        let row = client.query_one(version, &[]).await;
        Self(row.expect("ask for the version").get(0))
    }

    pub(crate) fn since(&self, major: i32, sql: &'static str) -> &'static str {
        match self.0 >= major * 10_000 {
            true => sql,
            false => "",
        }
    }

    /// For a publication to have generated columns, where it can.
    pub(crate) fn with_generated(&self) -> &'static str {
        self.since(18, "with (publish_generated_columns = stored)")
    }
}

const ROWS: &str = "
    insert into sums (id, n, note) select i, i, repeat('é', i * 10) from generate_series($, $ + 150) i;
    insert into sums (id, n, note) values ($ - 1, null, null);
    insert into plain select i % 5 from generate_series($, $ + 150) i";

const CHANGES: &str = "
    update sums set note = 'shouted ' || id where id % 3 = 0;
    update sums set n = n + 1 where id % 2 = 0;
    update sums set id = -id where id % 5 = 0;
    delete from sums where id % 7 = 0;
    update plain set n = 9 where n = 3;
    delete from plain where n = 4;
    alter table sums add column more text generated always as (note || '!') stored;
    insert into sums (id, n, note) values (9000, 1, 'x'), (9001, 2, 'y');
    update sums set note = 'z' where id = 9001";

#[tokio::test(flavor = "multi_thread")]
async fn the_target_generates_what_the_source_does() {
    let server = Server::start(&[]).await;
    let pipeline = Pipeline::between(server.database().await, database().await).await;
    let source = pipeline.source.client().await;
    let version = Version::of(&source).await;
    let made = format!(
        "create table sums (id int primary key, n int, twice bigint generated always as (n * 2) stored,
             note text, shout text generated always as (upper(note)) stored, last int default 7 {});
         alter table sums alter column note set storage external,
             alter column shout set storage external;
         create table plain (n int, twice int generated always as (n * 2) stored);
         alter table plain replica identity full;
         create publication \"{}\" for all tables {}",
        version.since(18, ", half int generated always as (n / 2) virtual"),
        pipeline.name(),
        version.with_generated(),
    );
    source.batch_execute(&made).await.expect("make tables");
    let rows = ROWS.replace('$', "1");
    source.batch_execute(&rows).await.expect("insert rows");
    pipeline.run(&["setup"]).await.well();
    let _services = [pipeline.cdc(), pipeline.applier()];
    pipeline.streaming().await;
    let rows = ROWS.replace('$', "1000");
    source.batch_execute(&rows).await.expect("insert rows");
    let later = [
        CHANGES,
        version.since(
            17,
            "alter table sums alter column twice set expression as (n * 3)",
        ),
        version.since(
            18,
            "create table later (id int primary key, v int generated always as (id + 1))",
        ),
        version.since(18, "insert into later values (1), (2)"),
        "insert into sums (id, n) values (9002, 3)",
    ];
    for change in later {
        source
            .batch_execute(change)
            .await
            .expect("change the source");
    }
    same(&pipeline).await;
    pipeline.run(&["verify"]).await.well();

    // Who reads the topic has what the publication publishes.
    let topic = format!("{}.public.sums", pipeline.name());
    let bootstrap = kafka::bootstrap().await;
    let records = tokio::task::spawn_blocking(move || kafka::records(bootstrap, &topic));
    let records = records.await.expect("read the topic");
    let shouts = records.iter().filter_map(|it| it.value.as_deref());
    let shouts = shouts
        .filter(|it| it.windows(7).any(|part| part == b"SHOUTED"))
        .count();
    assert_eq!(shouts > 0, version.0 >= 180_000, "{shouts} records");
}

/// A column that gets no values is named, before and while they are missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_only_the_source_generates_is_named() {
    let pipeline = Pipeline::new().await;
    let source = pipeline.source.client().await;
    let version = Version::of(&source).await;
    let made = format!(
        "create table sums (id int primary key, n int, twice int generated always as (n * 2) stored);
         create publication \"{}\" for all tables {}",
        pipeline.name(),
        version.with_generated(),
    );
    source.batch_execute(&made).await.expect("make a table");
    let target = pipeline.target.client().await;
    let plain = "create table sums (id int primary key, n int, twice int)";
    target.batch_execute(plain).await.expect("make a table");
    let check = pipeline.run(&["check"]).await;
    let said = "column twice is generated on the source and not here";
    let is_said = check.stdout.contains(said);
    assert_eq!(is_said, version.0 >= 180_000, "{check:?}");
    if is_said {
        let applier = pipeline.applier();
        let _cdc = pipeline.cdc();
        source
            .batch_execute("insert into sums values (1, 2)")
            .await
            .unwrap();
        wait::until("apply stops and says why", async || {
            let log = applier.output();
            match log.contains("column twice of table public.sums is generated on the source") {
                true => Ok(()),
                false => Err(log),
            }
        })
        .await;
    }
}

/// What Postgres 18 does to the source's own clients is told before a publication is there.
#[tokio::test(flavor = "multi_thread")]
async fn writes_that_the_source_would_refuse_are_named() {
    let pipeline = Pipeline::new().await;
    let source = pipeline.source.client().await;
    let version = Version::of(&source).await;
    let made = format!(
        "create table whole (n int, twice int generated always as (n * 2) stored);
         create table keyed (id int primary key, n int generated always as (id * 2) stored);
         create table hidden (n int {});
         alter table whole replica identity full;
         alter table hidden replica identity full",
        version.since(18, ", half int generated always as (n / 2) virtual"),
    );
    source.batch_execute(&made).await.expect("make tables");
    let refused = async || {
        let check = pipeline.run(&["check"]).await;
        let lines = check.stdout.lines();
        let lines = lines.filter(|line| line.contains("updates and deletes are refused"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let name = pipeline.name();
    let is_refused = async |table: &str| {
        let update = format!("update {table} set n = 1");
        source.batch_execute(&update).await.is_err()
    };
    let at_first = refused().await;
    let publish = format!("create publication \"{name}\" for all tables");
    source.batch_execute(&publish).await.expect("publish");
    let by_source = [is_refused("whole").await, is_refused("hidden").await];
    assert_eq!(refused().await, at_first);
    if version.0 < 180_000 {
        assert_eq!((at_first, by_source), (Vec::new(), [false, false]));
        return;
    }
    assert_eq!(
        (at_first.len(), by_source),
        (2, [true, true]),
        "{at_first:?}"
    );
    let publish = format!("alter publication \"{name}\" set (publish_generated_columns = stored)");
    source.batch_execute(&publish).await.expect("publish");
    let then = refused().await;
    assert_eq!(then.len(), 1, "{then:?}");
    assert!(then[0].contains("public.hidden"), "{then:?}");
    assert!(!is_refused("whole").await && is_refused("hidden").await);
}
