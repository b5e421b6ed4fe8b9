//! Pausing, resuming and setting aside, by the commands.

use serde_json::Value;
use testkit::wait;

use crate::stack::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn apply_is_paused_and_resumed_by_commands_and_the_audit_log_says_who() {
    let stack = Stack::start(&[]);
    stack.ready(1).await;
    let said = stack
        .run(&["pause", "--who=ann", "--reason=a test"])
        .await
        .well();
    assert!(said.contains("lockstep resume"), "{said}");
    let (source, target) = (stack.source().await, stack.target().await);
    source
        .batch_execute("insert into articles (title, content, author) values ('a', 'b', 'c')")
        .await
        .unwrap();
    let count = "select count(*) from articles";
    let progress = "select control::text || commit_lsn::text from lockstep.progress";
    let before: String = target.query_one(progress, &[]).await.unwrap().get(0);
    let waits = "select count(*) from pg_stat_activity where application_name = 'lockstep applier' \
                 and query like '%lockstep.control%'";
    wait::until("apply stands still", async || {
        match target.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) {
            0 => Err("it does not look at the rules"),
            _ => Ok(()),
        }
    })
    .await;
    let after: String = target.query_one(progress, &[]).await.unwrap().get(0);
    assert_eq!(before, after);
    assert_eq!(
        target.query_one(count, &[]).await.unwrap().get::<_, i64>(0),
        0
    );
    stack.run(&["resume", "--who=bob"]).await.well();
    wait::until("the row arrives", async || {
        match target.query_one(count, &[]).await.unwrap().get::<_, i64>(0) {
            1 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let audit = "select who, action, reason from lockstep.audit order by id";
    let entries = target.query(audit, &[]).await.unwrap();
    let entries: Vec<(String, String, Option<String>)> = entries
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    let expected = [
        ("ann", "pause apply", Some("a test")),
        ("bob", "resume apply", None),
    ];
    let expected = expected.map(|(who, action, reason)| {
        (who.to_owned(), action.to_owned(), reason.map(str::to_owned))
    });
    assert_eq!(entries, expected);
    let letters = stack.run(&["dead-letters", "list", "--json"]).await.well();
    let letters: Value = serde_json::from_str(&letters).unwrap();
    assert_eq!(letters["letters"].as_array().map(Vec::len), Some(0));
}
