//! How capture begins, and refuses to.

use change::commit::CommitKind;

use crate::captured::Pipeline;

#[tokio::test]
async fn a_table_without_identity_is_named_with_its_mend() {
    let pipeline = Pipeline::new().await;
    pipeline.execute("create table keyless (a int)").await;
    let error = pipeline.start().error().await;
    assert!(error.contains("public.keyless"), "{error}");
    assert!(error.contains("replica identity full"), "{error}");
}

#[tokio::test]
async fn commits_records_form_a_chain_over_restarts() {
    let pipeline = Pipeline::new().await;
    pipeline
        .execute("create table t (id int primary key)")
        .await;
    let running = pipeline.start();
    pipeline.changes("t", 1).await;
    running.stop().await;
    for id in 1..4 {
        let running = pipeline.start();
        pipeline
            .execute(&format!("insert into t values ({id})"))
            .await;
        pipeline.changes("t", id + 1).await;
        running.stop().await;
    }
    let commits = pipeline.commits().await;
    assert_eq!(commits[0].kind, CommitKind::SnapshotChunk);
    let complete = commits
        .iter()
        .position(|c| c.kind == CommitKind::SnapshotComplete)
        .unwrap();
    let mut previous = commits[complete].commit_lsn;
    for commit in &commits[complete + 1..] {
        assert_eq!(commit.previous_commit_lsn, previous);
        assert!(commit.commit_lsn > previous);
        previous = commit.commit_lsn;
    }
    assert!(commits.last().unwrap().epoch >= 4);
}
