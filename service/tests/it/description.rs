//! Errors of statements.

use service::postgres::{connect, describe};

use crate::server::Cluster;

#[tokio::test]
async fn a_row_value_is_not_described() {
    let cluster = Cluster::create().await;
    let server = cluster.start(None).await;
    let client = connect(&server.dsn("postgres", ""), "test").await.unwrap();
    let sql = "create table t (a text primary key); insert into t values ('hunter2')";
    client.batch_execute(sql).await.unwrap();
    let error = client
        .execute("insert into t values ('hunter2')", &[])
        .await
        .unwrap_err();
    let expected = "SQLSTATE 23505, table t, constraint t_pkey, raised by _bt_check_unique";
    assert_eq!(describe(&error), expected);
    let error = client
        .execute("select 'hunter2'::int", &[])
        .await
        .unwrap_err();
    assert!(!describe(&error).contains("hunter2"));

    drop(server);
    let error = client.execute("select 1", &[]).await.unwrap_err();
    assert!(!describe(&error).is_empty());
}
