//! Schemathesis asks whatever the schema allows.

use std::path::Path;

use testkit::schemathesis::{self, Verdict};

use crate::fixture::{Gateway, Rest};

async fn fuzz(gateway: &Gateway, examples: &str) -> Verdict {
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/schemathesis");
    // Its own checks take every error of a field for one of the server: that an article is not there,
    // too. Ours tells them apart.
    let check = "errors_are_about_the_request";
    let arguments = ["--checks", check, "--max-examples", examples];
    schemathesis::run(&gateway.at("/graphql"), &settings, &arguments).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_the_schema_allows_fails_inside() {
    let rest = Rest::start(&[]).await;
    for n in 0..30 {
        rest.create(&format!("Title {n}")).await;
    }
    let gateway = Gateway::start(&rest.url, &[]).await;
    let Verdict { code, output } = fuzz(&gateway, "60").await;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("✅ Fuzzing"), "{output}");
    assert!(output.contains("Tested: 9"), "{output}");
    gateway.stop().await;
}

/// Were something broken behind the gateway, it would be noticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_inside_is_found() {
    let rest = Rest::start(&[]).await;
    let gateway = Gateway::start(&rest.url, &[]).await;
    let drop = "drop table articles cascade";
    rest.database
        .client()
        .await
        .batch_execute(drop)
        .await
        .unwrap();
    let Verdict { code, output } = fuzz(&gateway, "5").await;
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("UPSTREAM_UNAVAILABLE"), "{output}");
    gateway.stop().await;
}
