//! Transactions that are prepared first and committed later, or never.

use testkit::postgres::{Server, database};
use testkit::{compare, wait};

use crate::pipeline::Pipeline;

/// They arrive when they commit, at that place among the others; what is rolled back never does.
#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_arrives_when_it_commits() {
    let server = Server::start(&[("max_prepared_transactions", "4")]).await;
    let pipeline = Pipeline::between(server.database().await, database().await).await;
    let source = pipeline.source.client().await;
    let target = pipeline.target.client().await;
    let made = "create table notes (id int primary key, text text)";
    source.batch_execute(made).await.expect("make a table");
    let mut services = [pipeline.cdc(), pipeline.applier()];
    pipeline.streaming().await;
    let prepared = "
        begin; insert into notes values (1, 'prepared'); prepare transaction 'kept';
        begin; insert into notes values (2, 'prepared'); prepare transaction 'undone';
        insert into notes values (3, 'after');";
    for statement in prepared.split_inclusive(';') {
        source.batch_execute(statement).await.expect("prepare");
    }
    let ids = async || {
        let rows = target.query("select id from notes order by id", &[]).await;
        let rows = rows.map_err(|error| format!("{error:?}"))?;
        Ok::<Vec<i32>, String>(rows.iter().map(|row| row.get(0)).collect())
    };
    wait::until(
        "what came after is there, and nothing else",
        async || match ids().await?.as_slice() {
            [3] => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
    for service in &mut services {
        service.kill_9();
        service.restart();
    }
    let ended = "rollback prepared 'undone'; commit prepared 'kept'";
    for statement in ended.split(';') {
        source.batch_execute(statement).await.expect("end");
    }
    compare::until_databases_are_equal(&source, &target).await;
    assert_eq!(ids().await, Ok(vec![1, 3]));
}
