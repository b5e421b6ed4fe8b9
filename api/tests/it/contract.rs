//! The description of the API is true: Schemathesis asks all that it describes, and around it.

use std::path::Path;

use serde_json::Value;
use testkit::postgres::{Database, database};
use testkit::schemathesis::{self, Verdict};

use crate::fixture::Api;

const DOCUMENT: &str = "/api/v1/openapi.json";

/// Runs all checks in all phases: nothing may be found, and nothing left out.
async fn check(api: &Api, arguments: &[&str]) {
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/schemathesis");
    let mut all = vec!["--checks", "all"];
    all.extend(arguments);
    let Verdict { code, output } = schemathesis::run(&api.at(DOCUMENT), &settings, &all).await;
    assert_eq!(code, Some(0), "{output}");
    let document = api.get(DOCUMENT).await.body;
    let paths = document["paths"].as_object().unwrap().values();
    let paths = paths.filter_map(Value::as_object);
    let members: usize = paths
        .map(|path| path.len() - usize::from(path.contains_key("parameters")))
        .sum();
    // It leaves out the operation that it reads the description from.
    let operations = members - 1;
    for line in [
        &format!("Selected: {operations}/{operations}"),
        &format!("Tested: {operations}"),
        "✅ Examples",
        "✅ Coverage",
        "✅ Fuzzing",
        "✅ Stateful",
        "No issues found",
    ] {
        assert!(output.contains(line), "{line} is not in:\n{output}");
    }
}

/// Small ids are tried most: requests for them shall not all end with 404.
async fn fill(database: &Database) {
    let sql = "insert into articles (title, content, author)
               select 'Title ' || n, 'Text', 'Ann' from generate_series(1, 300) as n";
    database.client().await.batch_execute(sql).await.unwrap();
}

#[tokio::test]
async fn what_is_described_is_true() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    fill(&database).await;
    check(&api, &["--max-examples", "100"]).await;
    api.stop().await;
}

#[tokio::test]
async fn what_is_described_is_true_with_a_token() {
    let database = database().await;
    let api = Api::start(&database, &["--api-token", "s3cret"]).await;
    fill(&database).await;
    let header = "Authorization: Bearer s3cret";
    check(&api, &["--max-examples", "20", "--header", header]).await;
    api.stop().await;
}

/// A description of another API must not pass: else the runs above would tell nothing.
#[tokio::test]
async fn what_is_not_true_is_found() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let mut document = api.get(DOCUMENT).await.body;
    let title = &mut document["components"]["schemas"]["Title"]["maxLength"];
    assert_eq!(title.take(), 200);
    *title = 201.into();
    document["paths"]
        .as_object_mut()
        .unwrap()
        .retain(|path, _| path == "/api/v1/articles");
    // Of the paths that are gone.
    let created = &mut document["paths"]["/api/v1/articles"]["post"]["responses"]["201"];
    created.as_object_mut().unwrap().remove("links");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("openapi.json");
    std::fs::write(&file, document.to_string()).unwrap();
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/schemathesis");
    let arguments = ["--url", &api.url, "--checks", "all", "--phases", "coverage"];
    let verdict = schemathesis::run(file.to_str().unwrap(), &settings, &arguments).await;
    assert_eq!(verdict.code, Some(1), "{}", verdict.output);
    assert!(
        verdict.output.contains("Schema-valid request rejected"),
        "{}",
        verdict.output
    );
    api.stop().await;
}
