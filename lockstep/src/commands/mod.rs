//! The commands, one module each.

mod actor;
pub(crate) mod api;
pub(crate) mod applier;
pub(crate) mod cdc;
pub(crate) mod check;
pub(crate) mod console;
pub(crate) mod dead_letters;
pub(crate) mod gateway;
pub(crate) mod health;
mod monitored;
pub(crate) mod pause;
mod pipeline;
mod remote;
pub(crate) mod replay;
pub(crate) mod resume;
pub(crate) mod schemas;
pub(crate) mod setup;
pub(crate) mod snapshot;
mod stage;
pub(crate) mod status;
pub(crate) mod topics;
pub(crate) mod up;
pub(crate) mod verify;

use std::process::ExitCode;

use crate::cli::Command;

pub(crate) use monitored::monitored;

/// Runs a command to its end. The code says whether all is well.
///
/// # Errors
/// What kept the command from doing its work.
pub(crate) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(config) => up::run(*config).await,
        Command::Cdc(config) => cdc::run(*config).await,
        Command::Applier(config) => applier::run(*config).await,
        Command::Api(config) => api::run(*config).await,
        Command::Gateway(config) => gateway::run(*config).await,
        Command::Console(config) => console::run(*config).await,
        Command::Health(config) => health::run(config).await,
        Command::Check(config) => check::run(config).await,
        Command::Setup(config) => setup::run(config).await,
        Command::Status(config) => status::run(config).await,
        Command::Snapshot(config) => snapshot::run(config).await,
        Command::Verify(config) => verify::run(config).await,
        Command::Replay(config) => replay::run(*config).await,
        Command::Topics(config) => topics::run(config).await,
        Command::Schemas(config) => schemas::run(config).await,
        Command::DeadLetters(config) => dead_letters::run(config).await,
        Command::Pause(config) => pause::run(config).await,
        Command::Resume(config) => resume::run(config).await,
    }
}
