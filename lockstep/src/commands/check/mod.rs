//! `lockstep check`: what would keep the pipeline from running, each with its mend.

mod differences;
mod finding;
mod kafka;
mod left_out;
mod locks;
mod refused;
mod registry;
mod source;
mod target;

use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use service::postgres::{Connection, Dsn, connect};

use finding::{Finding, State};

use crate::screen;
use operate::endpoints::{Endpoints, EndpointsConfig};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(flatten)]
    endpoints: EndpointsConfig,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Seconds that Kafka and the registry have for an answer
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
}

/// # Errors
/// When a part is not named; what is wrong with a part is a finding.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let limit = Duration::from_secs(config.timeout);
    let endpoints = config.endpoints.resolve()?;
    let findings = examine(&endpoints, limit).await;
    let failures = findings
        .iter()
        .filter(|finding| finding.state() == State::Fail)
        .count();
    if config.json {
        let report = json!({ "ok": failures == 0, "checks": findings });
        screen::line(&serde_json::to_string_pretty(&report)?);
    } else {
        for finding in &findings {
            screen::line(&finding.to_string());
        }
        screen::line(&match failures {
            0 => "ready".to_owned(),
            1 => "1 check failed".to_owned(),
            count => format!("{count} checks failed"),
        });
    }
    Ok(match failures {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

async fn examine(endpoints: &Endpoints, limit: Duration) -> Vec<Finding> {
    let mut findings = Vec::new();
    let source = reach("source", &endpoints.source, "--source", &mut findings).await;
    if let Some(client) = &source {
        let examined = source::examine(client, &endpoints.names, &mut findings).await;
        report_interruption("source", examined, &mut findings);
    }
    if let Some(client) = reach("target", &endpoints.target, "--target", &mut findings).await {
        let examined = target::examine(&client, source.as_deref(), endpoints, &mut findings).await;
        report_interruption("target", examined, &mut findings);
    }
    findings.extend(kafka::examine(endpoints, limit).await);
    findings.push(registry::examine(&endpoints.registry, limit).await);
    findings
}

async fn reach(
    part: &'static str,
    dsn: &Dsn,
    flag: &'static str,
    findings: &mut Vec<Finding>,
) -> Option<Connection> {
    match connect(dsn, "lockstep check").await {
        Ok(connection) => {
            findings.push(Finding::ok(part, "connection", dsn));
            Some(connection)
        }
        Err(error) => {
            findings.push(Finding::fail(
                part,
                "connection",
                service::chain(&error),
                format!("start the server, or correct {flag}"),
            ));
            None
        }
    }
}

/// A query that failed half way leaves checks undone, which is not well.
fn report_interruption(
    part: &'static str,
    examined: anyhow::Result<()>,
    findings: &mut Vec<Finding>,
) {
    if let Err(error) = examined {
        let mend = "check that the role may read the catalog, then run this again";
        findings.push(Finding::fail(
            part,
            "examination",
            format!("{error:#}"),
            mend,
        ));
    }
}
