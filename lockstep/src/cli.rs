//! The command line.

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use service::settings::{self, SettingsError};
use service::telemetry::TelemetryConfig;

use crate::commands::{
    api, applier, cdc, check, console, dead_letters, gateway, health, pause, replay, resume,
    schemas, setup, snapshot, status, topics, up, verify,
};

/// Copies every committed change of one Postgres into another, in commit order, exactly once.
#[derive(Debug, Parser)]
#[command(name = "lockstep", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) telemetry: TelemetryConfig,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything on this machine, with nothing to install but Postgres
    Up(Box<up::Config>),
    /// Capture: from the source's log to the topics
    Cdc(Box<cdc::Config>),
    /// Apply: from the topics to the target
    Applier(Box<applier::Config>),
    /// The REST API of the reference application
    Api(Box<api::Config>),
    /// The GraphQL gateway of the reference application
    Gateway(Box<gateway::Config>),
    /// The operator's web pages
    Console(Box<console::Config>),
    /// Ask a service whether it is ready, as containers do
    Health(health::Config),
    /// Examine both databases, Kafka and the registry before the first start
    Check(check::Config),
    /// Make what replication needs: publication, tables and progress on the target
    Setup(setup::Config),
    /// Show where every stage stands
    Status(status::Config),
    /// Read tables once more while changes flow on, for a target that lost some of their rows
    Snapshot(snapshot::Config),
    /// Compare source and target, every row of every table
    Verify(verify::Config),
    /// Put rows of a past time in place again, or copy the tables as they stood
    Replay(Box<replay::Config>),
    /// Browse the topics and the records in them
    Topics(topics::Config),
    /// Browse the schemas that records were written with
    Schemas(schemas::Config),
    /// Let apply or capture rest between two transactions, or single tables wait
    Pause(pause::Config),
    /// Let a paused apply or capture go on, or bring held tables up to the others
    Resume(resume::Config),
    /// Look at changes that apply has set aside, apply them after all, or discard them
    DeadLetters(dead_letters::Config),
}

impl Cli {
    /// Reads flags, variables and the settings file.
    ///
    /// # Errors
    /// As [`settings::parse`].
    pub(crate) fn read() -> Result<Self, SettingsError> {
        let matches = settings::matches(Self::command(), std::env::args_os(), std::env::vars_os())?;
        let mut cli = Self::from_arg_matches(&matches).map_err(SettingsError::Usage)?;
        if !cli.command.is_service() && !chose_filter(&matches) {
            // The commands' own words go to standard output; only what is odd stands beside them.
            cli.telemetry.log_filter = "warn".to_owned();
        }
        Ok(cli)
    }
}

impl Command {
    /// Whether it runs until it is told to stop, and its log is what people follow.
    fn is_service(&self) -> bool {
        match self {
            Self::Cdc(_)
            | Self::Applier(_)
            | Self::Api(_)
            | Self::Gateway(_)
            | Self::Console(_) => true,
            // `up` prints its parts' addresses itself.
            Self::Up(_)
            | Self::Check(_)
            | Self::Health(_)
            | Self::Setup(_)
            | Self::Status(_)
            | Self::Snapshot(_)
            | Self::Verify(_)
            | Self::Replay(_)
            | Self::Topics(_)
            | Self::Schemas(_)
            | Self::Pause(_)
            | Self::Resume(_)
            | Self::DeadLetters(_) => false,
        }
    }
}

fn chose_filter(matches: &ArgMatches) -> bool {
    matches.value_source("log_filter") != Some(ValueSource::DefaultValue)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
