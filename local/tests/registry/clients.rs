//! Clients that others wrote must work as they are.

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

/// Runs a client script against a registry of its own. The program is one of the installed tools
/// or, without a slash, one on the path.
async fn run_script(program: &str, script: &str) {
    let client = registry().await;
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/registry/clients");
    let tools = tools(&clients).await;
    let program = if program.contains('/') {
        tools.join(program)
    } else {
        PathBuf::from(program)
    };
    let output = Command::new(program)
        .arg(clients.join(script))
        .arg(client.url())
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

#[tokio::test]
async fn schema_registry_converter_works() {
    const NARROW: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#;
    let client = registry().await;
    let settings = SrSettings::new(client.url());
    let supplied = |schema: &str| {
        SuppliedSchema::new(Some("R".to_owned()), SchemaType::Avro, schema.to_owned())
    };
    let subject = "shop.public.rows-value".to_owned();
    let posted = post_schema(&settings, subject.clone(), supplied(NARROW))
        .await
        .unwrap();
    assert_eq!((posted.id, posted.schema.as_str()), (1, NARROW));
    assert_eq!(get_schema_by_id(1, &settings).await.unwrap().schema, NARROW);
    let strategy = SubjectNameStrategy::TopicNameStrategy("shop.public.rows".to_owned(), false);
    assert_eq!(
        get_schema_by_subject(&settings, &strategy)
            .await
            .unwrap()
            .id,
        1
    );
    assert_eq!(
        get_all_subjects(&settings).await.unwrap(),
        std::slice::from_ref(&subject)
    );
    for (wider, compatible) in [("long", true), ("string", false)] {
        let schema = supplied(&NARROW.replace("int", wider));
        assert_eq!(
            is_compatible_schema(&settings, subject.clone(), schema)
                .await
                .unwrap(),
            compatible
        );
    }
    let refused = post_schema(
        &settings,
        subject,
        supplied(&NARROW.replace("int", "string")),
    )
    .await;
    assert!(refused.is_err());
}
