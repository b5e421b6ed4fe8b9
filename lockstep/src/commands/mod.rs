//! The commands, one module each.

pub(crate) mod check;
pub(crate) mod setup;
pub(crate) mod status;
pub(crate) mod verify;

use std::process::ExitCode;

use crate::cli::Command;

/// Runs a command to its end. The code says whether all is well.
///
/// # Errors
/// What kept the command from doing its work.
pub(crate) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check(config) => check::run(config).await,
        Command::Setup(config) => setup::run(config).await,
        Command::Status(config) => status::run(config).await,
        Command::Verify(config) => verify::run(config).await,
    }
}
