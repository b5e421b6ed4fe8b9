//! Publications that leave rows and columns out.

use testkit::postgres::Connection;

use crate::pipeline::Pipeline;

const TABLES: &str = "
    create schema s;
    create table filtered (id int primary key, n int, secret text);
    create table parts (id int, n int, primary key (id, n)) partition by range (id);
    create table parts_1 partition of parts for values from (0) to (1000);
    create table parts_2 partition of parts for values from (1000) to (3000);
    create table s.whole (id int primary key, n int);
    create table plain (id int primary key, n int)";

const ROWS: &str = "
    insert into filtered select n, n, 'secret' from generate_series(1, 2000) n;
    insert into parts select n, n from generate_series(1, 2000) n;
    insert into s.whole select n, n from generate_series(1, 100) n;
    insert into plain select n, n from generate_series(1, 100) n";

async fn count(client: &Connection, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.expect("count").get(0)
}

#[tokio::test]
async fn what_is_published_is_copied_compared_and_repaired() {
    let pipeline = Pipeline::new().await;
    let source = pipeline.source.client().await;
    let target = pipeline.target.client().await;
    for side in [&source, &target] {
        side.batch_execute(TABLES).await.expect("create tables");
    }
    source.batch_execute(ROWS).await.expect("insert rows");
    let name = pipeline.name();
    let publication = format!(
        "create publication {name} for table filtered (id, n) where (id > 500),
             parts where (n > 500), plain, s.whole
        with (publish_via_partition_root = true)"
    );
    source.batch_execute(&publication).await.expect("publish");
    pipeline.run(&["setup"]).await.well();
    let (_cdc, _applier) = (pipeline.cdc(), pipeline.applier());
    pipeline.streaming().await;
    let counts = "select (select count(*) from filtered) * 1000000 + (select count(*) from parts)";
    assert_eq!(count(&target, counts).await, 1500 * 1_000_000 + 1500);

    let changes = "update filtered set id = id + 10000 where id <= 10;
                   update filtered set id = -id where id > 1990;
                   update parts set n = 0 - n where id > 1990; update parts set n = 501 where id <= 20;
                   delete from s.whole where id <= 50; update plain set n = 0 where id = 1";
    source.batch_execute(changes).await.expect("change rows");
    pipeline.caught_up(&source, &target).await;
    let said = pipeline.run(&["verify"]).await.well();
    for table in ["public.filtered", "public.parts", "s.whole", "public.plain"] {
        assert!(said.contains(&format!("{table}: equal")), "{said}");
    }

    let harm = "insert into filtered values (7, 7); delete from filtered where id = 600;
                update filtered set n = 0 where id = 601";
    target.batch_execute(harm).await.expect("harm the target");
    let ran = pipeline.run(&["verify", "--table=public.filtered"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    pipeline.run(&["verify", "--repair"]).await.well();
    let gone = "select count(*) from filtered where id = 7";
    assert_eq!(count(&target, gone).await, 0);
}

/// What is not published stays on the target, and a comparison says so.
#[tokio::test]
async fn deletes_that_are_not_published_are_differences() {
    let pipeline = Pipeline::new().await;
    let source = pipeline.source.client().await;
    let table = "create table t (id int primary key); insert into t values (1), (2)";
    source.batch_execute(table).await.expect("create a table");
    let name = pipeline.name();
    let publication =
        format!("create publication {name} for table t with (publish = 'insert, update')");
    source.batch_execute(&publication).await.expect("publish");
    pipeline.run(&["setup"]).await.well();
    let said = pipeline.run(&["check"]).await;
    assert!(
        said.stdout.contains("does not publish delete, truncate"),
        "{said:?}"
    );
    let (_cdc, _applier) = (pipeline.cdc(), pipeline.applier());
    pipeline.streaming().await;
    let delete = "delete from t where id = 1; insert into t values (3)";
    source.batch_execute(delete).await.expect("delete a row");
    let target = pipeline.target.client().await;
    pipeline.caught_up(&source, &target).await;
    assert_eq!(count(&target, "select count(*) from t").await, 3);
    let ran = pipeline.run(&["verify"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("different at"), "{ran:?}");
}
