//! Waiting until every part does its work.

use std::time::Duration;

use reqwest::Client;

use super::ports::{Ports, loopback};

/// How long one question may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

const ASK_INTERVAL: Duration = Duration::from_millis(50);

/// Returns once the REST APIs, the gateway, capture and apply all say that they reach what they
/// need: the gateway also the topics, so that who subscribes from now on misses no change.
/// Cancel-safe.
///
/// # Errors
/// When no HTTP client can be made.
pub(super) async fn wait(ports: &Ports) -> anyhow::Result<()> {
    let client = Client::builder().timeout(ANSWER_LIMIT).build()?;
    let gateway = format!("{}/health", ports.gateway_url());
    let monitors = [ports.cdc_metrics_port, ports.applier_metrics_port];
    let apis = [ports.api_url(), ports.replica_url()];
    let mut urls = Vec::from(apis.map(|url| format!("{url}/api/v1/health")));
    urls.extend(monitors.map(|port| format!("http://{}/readyz", loopback(port))));
    urls.push(gateway);
    for url in urls {
        loop {
            let answer = client.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                break;
            }
            tokio::time::sleep(ASK_INTERVAL).await;
        }
    }
    Ok(())
}
