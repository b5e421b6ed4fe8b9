//! A running pipeline under load, a real Prometheus that watches it, and faults.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use serde_json::json;
use testkit::postgres::Connection;
use testkit::wait;
use tokio::task::JoinSet;

use super::dashboards;
use super::prometheus::{Alert, Prometheus};
use crate::stack::Stack;

/// Every query of a panel, and every selector of an alert, has data while a pipeline runs; alerts
/// become true with their faults, and false when these are over.
#[tokio::test(flavor = "multi_thread")]
async fn every_query_has_data_and_alerts_follow_faults() {
    let mut stack = Stack::start(&[]);
    stack.ready(1).await;
    let ports = [
        ("cdc", stack.port("cdc-metrics")),
        ("applier", stack.port("applier-metrics")),
        ("api", stack.port("api")),
        ("replica", stack.port("replica")),
        ("gateway", stack.port("gateway")),
        ("console", stack.port("console")),
    ];
    let prometheus = Prometheus::start(&ports).await;
    let watched = Watched {
        alerts: prometheus.alerts().await,
        prometheus,
    };
    let load = Load::start(&stack).await;

    let mut open = plant(&stack).await;
    let planted = [
        "LockstepTableHeld",
        "LockstepDeadLetters",
        "LockstepVerificationDifferent",
        "LockstepSlotLossForecast",
    ];
    for alert in planted {
        watched.is(alert, true).await;
    }
    watched.has_all_data().await;
    mend(&stack, &mut open).await;
    for alert in planted {
        watched.is(alert, false).await;
    }

    // As a session that forgot to commit would: apply waits for its own row.
    let locked = stack.target().await;
    let lock = "begin; select 1 from lockstep.progress for update";
    locked.batch_execute(lock).await.unwrap();
    watched.is("LockstepReplicationLag", true).await;
    watched.is("LockstepPipelineStopped", true).await;
    locked.batch_execute("rollback").await.unwrap();
    watched.is("LockstepReplicationLag", false).await;
    watched.is("LockstepPipelineStopped", false).await;

    stack.run(&["pause"]).await.well();
    watched.is("LockstepPausedTooLong", true).await;
    stack.run(&["resume"]).await.well();
    watched.is("LockstepPausedTooLong", false).await;

    watched.is("LockstepInstanceDown", false).await;
    load.stop().await;
    stack.process.kill_9();
    watched.is("LockstepInstanceDown", true).await;
    stack.process.restart();
    watched.is("LockstepInstanceDown", false).await;
}

struct Watched {
    prometheus: Prometheus,
    alerts: Vec<Alert>,
}

/// Scrapes, rules and the slot's forecast follow each other, each at its own pace.
const PATIENCE: Duration = Duration::from_secs(240);

/// What begins a name of ours, and the one metric that Prometheus makes itself.
const OURS: [&str; 5] = ["cdc_", "applier_", "http_", "lockstep:", "up{"];

impl Watched {
    /// Waits until the alert's expression is so.
    async fn is(&self, alert: &str, wanted: bool) {
        let query = &self.alert(alert).query;
        // Nobody waits here for minutes: what is an age of a minute there is one of a second here,
        // and what is a rest of minutes one of seconds.
        let query = query.replace("> 60", "> 1").replace("[5m]", "[8s]");
        wait::within(PATIENCE, &format!("{alert} is {wanted}"), async || {
            let found = self.prometheus.query(&query).await?;
            let is_so = (found > 0) == wanted;
            is_so.then_some(()).ok_or(format!("{query}: {found}"))
        })
        .await;
    }

    fn alert(&self, name: &str) -> &Alert {
        let found = self.alerts.iter().find(|alert| alert.name == name);
        found.unwrap_or_else(|| panic!("there is no alert {name}"))
    }

    async fn has_all_data(&self) {
        let mut queries = dashboards::queries();
        for Alert { name, query } in &self.alerts {
            let selectors = selectors(query);
            assert!(!selectors.is_empty(), "{name}: {query}");
            queries.extend(selectors.into_iter().map(|it| (name.clone(), it)));
        }
        assert!(queries.len() > 80, "{}", queries.len());
        for (place, query) in queries {
            wait::within(PATIENCE, &format!("data for {place}"), async || match self
                .prometheus
                .query(&query)
                .await?
            {
                0 => Err(query.clone()),
                _ => Ok(()),
            })
            .await;
        }
    }
}

/// Metrics of ours with their matchers, as the query names them.
fn selectors(query: &str) -> Vec<String> {
    let is_name = |character: char| character.is_ascii_alphanumeric() || "_:".contains(character);
    let mut selectors = Vec::new();
    let mut rest = query;
    while let Some(start) = rest.find(is_name) {
        let text = &rest[start..];
        let end = text.find(|it| !is_name(it)).unwrap_or(text.len());
        let end = match text[end..].starts_with('{') {
            true => text.find('}').expect("a matcher ends") + 1,
            false => end,
        };
        if OURS.iter().any(|ours| text.starts_with(ours)) {
            selectors.push(text[..end].to_owned());
        }
        rest = &text[end..];
    }
    selectors
}

#[test]
fn selectors_are_found_with_their_matchers() {
    let query = r#"increase(cdc_restarts_total[15m]) > 5 or sum by (pipeline) (up{job="a"}) == 0"#;
    assert_eq!(selectors(query), ["cdc_restarts_total", r#"up{job="a"}"#]);
}

/// A table is held, a change set aside, a verification has found a difference, and a transaction of
/// the source stays open while its log grows. Returns who keeps it open.
async fn plant(stack: &Stack) -> Connection {
    stack
        .run(&["pause", "--table=public.articles_migrations"])
        .await
        .well();
    let target = stack.target().await;
    let planted = target.batch_execute(FINDINGS).await;
    planted.expect("plant what was found");
    let source = stack.source().await;
    for statement in [
        // Neither may stand in a transaction with another.
        "alter system set max_slot_wal_keep_size = '1GB'",
        "select pg_reload_conf()",
        "begin; insert into articles (title, content, author) values ('a', 'b', 'c')",
    ] {
        let done = source.batch_execute(statement).await;
        done.expect("give the slot a limit, and leave a transaction open");
    }
    source
}

const FINDINGS: &str = "
begin;
update lockstep.progress set control = control + 1;
insert into lockstep.dead_letters (pipeline, table_schema, table_name, commit_lsn, ordinal, topic,
        kafka_partition, kafka_offset, schema_id, images, op, key, error_class, error)
 values ('lockstep', 'public', 'articles', '0/1', 0, 'lockstep.public.articles', 0, 0, 1, '',
         'insert', '', 'conflict', 'planted');
insert into lockstep.verifications (pipeline, commit_lsn, started_at, held, equal, rows_compared,
        rows_different, started_by, tables)
 values ('lockstep', '0/1', now(), '0 s', false, 9, 2, 'a test', '[]');
commit";

async fn mend(stack: &Stack, open: &mut Connection) {
    stack
        .run(&["resume", "--table=public.articles_migrations"])
        .await
        .well();
    let target = stack.target().await;
    let mended = target.batch_execute(MENDED).await;
    mended.expect("mend what was found");
    let ended = open.batch_execute("rollback").await;
    ended.expect("end the open transaction");
    // The slot moves on when the source logs which transactions run.
    let source = stack.source().await;
    let logged = source.batch_execute("checkpoint").await;
    logged.expect("make a checkpoint");
}

const MENDED: &str = "
begin;
update lockstep.progress set control = control + 1;
update lockstep.dead_letters set state = 'discarded', closed_at = now();
insert into lockstep.verifications (pipeline, commit_lsn, started_at, held, equal, rows_compared,
        rows_different, started_by, tables)
 values ('lockstep', '0/1', now(), '0 s', true, 9, 0, 'a test', '[]');
commit";

/// Reads and writes through REST, GraphQL and SQL until it is stopped.
struct Load(JoinSet<()>);

const PAUSE: Duration = Duration::from_millis(20);

impl Load {
    async fn start(stack: &Stack) -> Self {
        let http = Client::new();
        let (rest, replica, graphql) = (stack.api(), stack.replica(), stack.graphql());
        let source = Arc::new(stack.source().await);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                let article = json!({ "title": "a", "content": "b".repeat(2000), "author": "c" });
                let url = format!("{rest}/api/v1/articles");
                // Answers are not looked at: faults are what this is about.
                let _ = http.post(&url).json(&article).send().await;
                let _ = http.get(format!("{replica}/api/v1/articles")).send().await;
                let query = json!({ "query": "{ articles { items { id } } }" });
                let _ = http.post(&graphql).json(&query).send().await;
                let edit = "update articles set views = views + 1 where id % 10 = 0";
                let _ = source.execute(edit, &[]).await;
                // What others write to the log, which a slot holds back all the same.
                let other = "select pg_logical_emit_message(false, 'other', repeat('-', 100000))";
                let _ = source.execute(other, &[]).await;
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self(tasks)
    }

    async fn stop(mut self) {
        self.0.shutdown().await;
    }
}
