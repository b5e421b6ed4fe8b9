//! The description of the API is true: Schemathesis asks all that it describes, and around it.

use std::path::Path;

use testkit::postgres::database;
use testkit::schemathesis::{self, Verdict};

use crate::fixture::{Api, draft};

async fn checked(api: &Api, arguments: &[&str]) -> Verdict {
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/schemathesis");
    let mut all = vec!["--checks", "all"];
    all.extend(arguments);
    schemathesis::run(&api.at("/api/v1/openapi.json"), &settings, &all).await
}

/// Nothing was found, in all phases, and it was asked a lot.
#[track_caller]
fn is_clean(verdict: &Verdict) {
    let Verdict { code, output } = verdict;
    assert_eq!(*code, Some(0), "{output}");
}

#[tokio::test]
async fn all_that_is_described_is_true() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    for number in 1..=5 {
        api.create(&draft(&format!("{number}"))).await;
    }
    let verdict = checked(&api, &["--max-examples", "20"]).await;
    is_clean(&verdict);
    api.stop().await;
}
