//! The command line.

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use service::settings::{self, SettingsError};
use service::telemetry::TelemetryConfig;

use crate::commands::{check, setup, status, verify};

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
    /// Examine both databases, Kafka and the registry before the first start
    Check(check::Config),
    /// Make what replication needs: publication, tables and progress on the target
    Setup(setup::Config),
    /// Show where every stage stands
    Status(status::Config),
    /// Compare source and target, every row of every table
    Verify(verify::Config),
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
            Self::Check(_) | Self::Setup(_) | Self::Status(_) | Self::Verify(_) => false,
        }
    }
}

fn chose_filter(matches: &ArgMatches) -> bool {
    matches.value_source("log_filter") != Some(ValueSource::DefaultValue)
}
