//! `lockstep schemas`: what the registry keeps of a table whose shape changes.

use change::framing::SchemaId;
use operate::registry::Registry;
use serde_json::{Value, json};
use testkit::process::Process;
use testkit::{registry, wait};

use crate::pipeline::Pipeline;

#[tokio::test(flavor = "multi_thread")]
async fn versions_of_a_table_are_listed_compared_and_tested() {
    let pipeline = Pipeline::new().await;
    let _services = changed_table(&pipeline).await;
    let subject = format!("{}.public.t-value", pipeline.name());
    second_version(&pipeline, &subject).await;
    listed_and_compared(&pipeline, &subject).await;
    tested(&pipeline, &subject).await;
    changed(&pipeline, &subject).await;
}

/// A table whose shape changes while it is captured.
async fn changed_table(pipeline: &Pipeline) -> [Process; 2] {
    let source = pipeline.source.client().await;
    let create = "create table t (id int primary key, a text, b int not null default 0);
                  insert into t values (0, 'w', 0)";
    source.batch_execute(create).await.expect("create a table");
    let services = [pipeline.cdc(), pipeline.applier()];
    pipeline.streaming().await;
    let target = pipeline.target.client().await;
    for side in [&target, &source] {
        let alter = "alter table t add column c numeric(10,2), drop column b";
        side.batch_execute(alter).await.expect("change the table");
    }
    source
        .batch_execute("insert into t values (1, 'x', 1.50)")
        .await
        .expect("insert a row");
    services
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_registry_gets_its_schemas_back_with_their_ids() {
    let pipeline = Pipeline::new().await;
    let services = changed_table(&pipeline).await;
    let source = pipeline.source.client().await;
    let target = pipeline.target.client().await;
    pipeline.caught_up(&source, &target).await;
    drop(services);
    let subject = format!("{}.public.t-value", pipeline.name());
    let show = ["schemas", "show", "--json", &subject];
    let before = pipeline.run(&show).await.well();
    let lost = registry::Server::start().await;
    let pipeline = pipeline.with_registry(lost.url());
    // What the topics hold needs the ids that the records name.
    let restore = ["schemas", "restore", "--who=ann", "--reason=lost"];
    let restored = pipeline.run(&restore).await.well();
    assert_eq!(restored.lines().count(), 2, "{restored}");
    assert_eq!(restored.matches(" restored").count(), 2, "{restored}");
    assert_eq!(pipeline.run(&show).await.well(), before);
    let again = pipeline.run(&restore).await.well();
    assert_eq!(again, restored.replace("restored", "is there"));

    // The subject takes new schemas as before.
    let alter = "alter table t add column d int";
    target.batch_execute(alter).await.expect("change the table");
    let insert = "alter table t add column d int; insert into t values (2, 'y', 2, 3)";
    source.batch_execute(insert).await.expect("write");
    let _services = [pipeline.cdc(), pipeline.applier()];
    pipeline.caught_up(&source, &target).await;
    let detail = pipeline.run(&show).await.well();
    let detail: Value = serde_json::from_str(&detail).expect("JSON");
    assert_eq!(detail["versions"], 3, "{detail:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_means_something_else_is_not_restored() {
    let pipeline = Pipeline::new().await;
    let services = changed_table(&pipeline).await;
    let source = pipeline.source.client().await;
    let target = pipeline.target.client().await;
    pipeline.caught_up(&source, &target).await;
    drop(services);
    let first = "select min(id) from lockstep.schemas";
    let first: i64 = target.query_one(first, &[]).await.expect("ask").get(0);
    let other = registry::Server::start().await;
    let client = Registry::new(other.url()).expect("a client");
    client.set_mode("other", "IMPORT").await.expect("import");
    let id = SchemaId(first.try_into().expect("an id"));
    let imported = client.import("other", id, "\"int\"").await;
    imported.expect("import");
    let pipeline = pipeline.with_registry(other.url());
    let refused = pipeline.run(&["schemas", "restore"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let why = format!("the registry has another schema with id {first}");
    assert!(refused.stderr.contains(&why), "{refused:?}");
    let list = ["schemas", "list", "--name", pipeline.name()];
    let listed = pipeline.run(&list).await.well();
    assert!(!listed.contains(pipeline.name()), "{listed}");
}

async fn second_version(pipeline: &Pipeline, subject: &str) {
    let detail = wait::until("the second version is registered", async || {
        let ran = pipeline.run(&["schemas", "show", "--json", subject]).await;
        let detail: Value = serde_json::from_str(&ran.well()).expect("JSON");
        // Counted and listed by two questions.
        match detail["versions"] == 2 && detail["history"][1].is_object() {
            true => Ok(detail),
            false => Err(detail.to_string()),
        }
    })
    .await;
    assert_eq!(detail["table"], "public.t");
    assert_eq!(detail["part"], "value");
    let expected = json!([
        "added column c nullable numeric(10,2)",
        "removed column b not null integer"
    ]);
    assert_eq!(detail["history"][0]["changes"], expected, "{detail:#}");
}

async fn listed_and_compared(pipeline: &Pipeline, subject: &str) {
    let listed = pipeline
        .run(&["schemas", "list", "--name", pipeline.name()])
        .await;
    let listed = listed.well();
    assert!(
        listed.contains(&format!("{subject}: version 2, id ")),
        "{listed}"
    );
    assert!(listed.contains(", table public.t"), "{listed}");

    let compared = pipeline
        .run(&["schemas", "diff", subject, "1", "2"])
        .await
        .well();
    assert!(
        compared.starts_with("added column c nullable"),
        "{compared}"
    );
    let lines = |sign: char, text: &str| {
        let lines = compared.lines().filter(|line| line.starts_with(sign));
        lines.filter(|line| line.contains(text)).count()
    };
    assert_eq!(lines('+', r#""pgName": "c""#), 1, "{compared}");
    assert_eq!(lines('-', r#""pgName": "b""#), 1, "{compared}");
    assert_eq!(
        lines('+', "ordinal") + lines('-', "ordinal"),
        0,
        "{compared}"
    );
}

async fn tested(pipeline: &Pipeline, subject: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("schema");
    let file = file.to_str().expect("a name");
    let shown = pipeline
        .run(&["schemas", "show", subject, "--version=2"])
        .await
        .well();
    std::fs::write(file, &shown).expect("write the schema");
    let tested = pipeline
        .run(&["schemas", "test", subject, file])
        .await
        .well();
    assert_eq!(tested, "compatible\n");
    // "ordinal" becomes text, which no reader of the former schema can read.
    let mut other: Value = serde_json::from_str(&shown).expect("JSON");
    let ordinal = &mut other["fields"][0]["type"]["fields"][2];
    assert_eq!(ordinal["name"], "ordinal");
    ordinal["type"] = json!("string");
    std::fs::write(file, other.to_string()).expect("write the schema");
    let tested = pipeline.run(&["schemas", "test", subject, file]).await;
    assert_eq!(tested.code, Some(1), "{tested:?}");
    assert!(tested.stdout.contains("TYPE_MISMATCH"), "{tested:?}");
}

async fn changed(pipeline: &Pipeline, subject: &str) {
    let level = async |more: &[&str]| {
        let mut arguments = vec!["schemas", "level", subject];
        arguments.extend(more);
        pipeline.run(&arguments).await.well()
    };
    let before = level(&[]).await;
    let set = level(&["--set=full_transitive", "--who=ann", "--reason=audit"]).await;
    assert_eq!(set, "FULL_TRANSITIVE\n");
    let cleared = level(&["--clear"]).await;
    assert!(cleared.ends_with("the global level\n"), "{before}{cleared}");

    let delete = async |more: &[&str]| {
        let mut arguments = vec!["schemas", "delete", subject, "--version=1"];
        arguments.extend(more);
        pipeline.run(&arguments).await
    };
    // In two steps, and not in one.
    let refused = delete(&["--permanent"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    delete(&[]).await.well();
    let shown = pipeline.run(&["schemas", "show", subject]).await.well();
    assert!(shown.contains("version 1, id"), "{shown}");
    assert_eq!(shown.matches(", deleted").count(), 1, "{shown}");
    delete(&["--permanent"]).await.well();
    let shown = pipeline.run(&["schemas", "show", subject]).await.well();
    assert!(!shown.contains("version 1, id"), "{shown}");

    let target = pipeline.target.client().await;
    let audit = "select coalesce(who || ': ', '') || action || ' ' || object || ' '
                        || coalesce(reason, '') || details::text
                   from lockstep.audit where pipeline = $1 and object = $2 order by id";
    let rows = target.query(audit, &[&pipeline.name(), &subject]).await;
    let rows: Vec<String> = rows
        .expect("the log")
        .iter()
        .map(|row| row.get(0))
        .collect();
    // What was refused is not in it.
    assert_eq!(rows.len(), 4, "{rows:#?}");
    let first = format!("ann: schemas level {subject} audit{{\"level\": \"FULL_TRANSITIVE\"}}");
    assert_eq!(rows[0], first);
    assert!(
        rows[3].ends_with(r#"{"version": 1, "permanent": true}"#),
        "{rows:#?}"
    );
}
