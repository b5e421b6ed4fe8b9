//! `lockstep health`: whether a service is ready, for who starts containers in order.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use reqwest::Client;

use crate::screen;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    /// The page that says it
    #[arg(
        env = "LOCKSTEP_HEALTH_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:9101/readyz"
    )]
    url: String,
}

/// Below what those who ask usually wait.
const ANSWER_LIMIT: Duration = Duration::from_secs(4);

/// # Errors
/// When nothing answers there.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let client = Client::builder().timeout(ANSWER_LIMIT).build()?;
    let answer = client.get(&config.url).send().await;
    // The client's own error repeats the URL, credentials included.
    let answer = answer
        .map_err(reqwest::Error::without_url)
        .context("ask the service how it is")?;
    let is_ready = answer.status().is_success();
    // Names what fails.
    let page = answer.text().await.map_err(reqwest::Error::without_url);
    screen::line(page.context("read its answer")?.trim_end());
    Ok(match is_ready {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
