//! Waiting until requests are answered.

use std::time::Duration;

use reqwest::Client;

/// How long one question may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

const ASK_INTERVAL: Duration = Duration::from_millis(50);

/// Returns once `<api>/api/v1/health` answers 200. Cancel-safe.
///
/// # Errors
/// When no HTTP client can be made.
pub(super) async fn wait(api: String) -> anyhow::Result<()> {
    let client = Client::builder().timeout(ANSWER_LIMIT).build()?;
    let url = format!("{api}/api/v1/health");
    loop {
        let answer = client.get(&url).send().await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        tokio::time::sleep(ASK_INTERVAL).await;
    }
}
