//! What the commands ask a schema registry.

use std::time::Duration;

use anyhow::{Context, ensure};

/// Whether something that speaks Confluent's REST API answers.
///
/// # Errors
/// Why not, with the address.
pub async fn reach(url: &str, limit: Duration) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().timeout(limit).build()?;
    let url = format!("{}/subjects", url.trim_end_matches('/'));
    // The client's own error repeats the URL, credentials included.
    let response = client.get(&url).send().await;
    let response = response
        .map_err(reqwest::Error::without_url)
        .context("ask for the subjects")?;
    let status = response.status();
    ensure!(
        status.is_success(),
        "asked for the subjects, it answered {status}"
    );
    let subjects: Result<Vec<String>, _> = response.json().await;
    subjects
        .map_err(reqwest::Error::without_url)
        .context("its answer is not a list of subjects: it is no schema registry")?;
    Ok(())
}
