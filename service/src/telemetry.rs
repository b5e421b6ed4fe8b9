//! Logging: structured, to standard error, so that standard output stays a command's answer.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How a process logs.
#[derive(Clone, Debug, clap::Args)]
pub struct TelemetryConfig {
    /// Form of the log lines
    #[arg(
        long,
        env = "LOCKSTEP_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text",
        global = true
    )]
    pub log_format: LogFormat,

    /// What to log: a level, or levels by module as in `info,cdc=debug`
    #[arg(long, env = "LOCKSTEP_LOG_FILTER", value_name = "FILTER", default_value = "info", global = true, value_parser = parse_filter)]
    pub log_filter: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line, for collectors
    Json,
}

/// Starts logging for the whole process.
///
/// # Errors
///
/// When logging was started before.
pub fn init(config: &TelemetryConfig) -> Result<(), TryInitError> {
    let filter = EnvFilter::new(&config.log_filter);
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_span_events(FmtSpan::NONE);
    match config.log_format {
        LogFormat::Text => lines
            .with_ansi(io::stderr().is_terminal())
            .finish()
            .try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    }
}

fn parse_filter(text: &str) -> Result<String, tracing_subscriber::filter::ParseError> {
    EnvFilter::try_new(text).map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_does_not_parse_is_refused() {
        assert!(parse_filter("info,cdc=debug").is_ok());
        assert!(parse_filter("cdc=loudly").is_err());
    }
}
