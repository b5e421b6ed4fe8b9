//! Clients that others wrote must work as they are.
//!
//! With `TEST_REGISTRY_URL`, those of `any_maker` ask the registry there instead of the local one.

use std::path::{Path, PathBuf};

use schema_registry_converter::async_impl::schema_registry::{
    SrSettings, get_all_subjects, get_schema_by_id, get_schema_by_subject, is_compatible_schema,
    post_schema,
};
use schema_registry_converter::schema_registry_common::{
    SchemaType, SubjectNameStrategy, SuppliedSchema,
};
use tokio::process::Command;

use crate::client::registry;

#[tokio::test]
async fn confluents_python_serializers_work() {
    run_script("venv/bin/python", "confluent_client.py").await;
}

#[tokio::test]
async fn confluents_javascript_serializers_work() {
    run_script("node", "confluent_client.js").await;
}

#[tokio::test]
async fn python_schema_registry_client_works() {
    run_script("venv/bin/python", "registry_client.py").await;
}

#[tokio::test]
async fn the_kafkajs_registry_client_works() {
    run_script("node", "kafkajs_client.js").await;
}

/// What does not depend on Confluent's words and on a registry of one's own.
mod any_maker {
    use super::{convert, run_script_at};
    use crate::client::registry;

    /// The URL of the registry to ask, and what keeps it running.
    async fn asked() -> (String, Option<crate::client::Client>) {
        match std::env::var("TEST_REGISTRY_URL") {
            Ok(url) => (url, None),
            Err(_) => {
                let client = registry().await;
                (client.url(), Some(client))
            }
        }
    }

    #[tokio::test]
    async fn python_serializers_work() {
        let (url, _client) = asked().await;
        run_script_at(&url, "venv/bin/python", "any_registry.py").await;
    }

    #[tokio::test]
    async fn javascript_serializers_work() {
        let (url, _client) = asked().await;
        run_script_at(&url, "node", "any_registry.js").await;
    }

    #[tokio::test]
    async fn schema_registry_converter_works() {
        let (url, _client) = asked().await;
        convert(&url, "shop.public.rows").await;
    }
}

/// Runs a client script against a registry of its own.
async fn run_script(program: &str, script: &str) {
    let client = registry().await;
    run_script_at(&client.url(), program, script).await;
}

/// The program is one of the installed tools or, without a slash, one on the path.
async fn run_script_at(url: &str, program: &str, script: &str) {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/registry/clients");
    let tools = tools(&clients).await;
    let program = if program.contains('/') {
        tools.join(program)
    } else {
        PathBuf::from(program)
    };
    let output = Command::new(program)
        .arg(clients.join(script))
        .arg(url)
        .env("NODE_PATH", tools.join("node/node_modules"))
        .output()
        .await
        .unwrap();
    let (out, error) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success() && out.trim_end() == "ok",
        "{script}:\n{out}\n{error}"
    );
}

async fn tools(clients: &Path) -> PathBuf {
    let output = Command::new(clients.join("setup.sh"))
        .output()
        .await
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "setup.sh could not install the clients:\n{error}"
    );
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end())
}

/// The client of the pipeline, with everything that it asks for.
async fn convert(url: &str, topic: &str) {
    const NARROW: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#;
    // The HTTP client wants a provider of cryptography; a second installation is refused.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let settings = SrSettings::new(url.to_owned());
    let supplied = |schema: &str| {
        SuppliedSchema::new(Some("R".to_owned()), SchemaType::Avro, schema.to_owned())
    };
    let subject = format!("{topic}-value");
    let posted = post_schema(&settings, subject.clone(), supplied(NARROW)).await;
    let posted = posted.unwrap();
    assert_eq!(posted.schema, NARROW);
    let by_id = get_schema_by_id(posted.id, &settings).await.unwrap();
    assert_eq!(by_id.schema, NARROW);
    let strategy = SubjectNameStrategy::TopicNameStrategy(topic.to_owned(), false);
    let latest = get_schema_by_subject(&settings, &strategy).await.unwrap();
    assert_eq!(latest.id, posted.id);
    let subjects = get_all_subjects(&settings).await.unwrap();
    assert!(subjects.contains(&subject), "{subjects:?}");
    for (wider, compatible) in [("long", true), ("string", false)] {
        let schema = supplied(&NARROW.replace("int", wider));
        let answer = is_compatible_schema(&settings, subject.clone(), schema).await;
        assert_eq!(answer.unwrap(), compatible);
    }
    let other = supplied(&NARROW.replace("int", "string"));
    post_schema(&settings, subject, other).await.unwrap_err();
}
