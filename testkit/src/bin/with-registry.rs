//! Runs a command with `TEST_REGISTRY_URL` naming a schema registry that lives as long as the
//! command: `with-registry cargo test -p local --test registry any_maker::`. For tests that cannot
//! use this crate, as the local registry's own cannot.

use std::process::ExitCode;

use anyhow::Context;
use testkit::registry;
use tokio::process::Command;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    let program = words.next().context("say which command to run")?;
    let server = registry::Server::start().await;
    let mut command = Command::new(program);
    command.args(words).env("TEST_REGISTRY_URL", server.url());
    let status = command.status().await.context("run the command")?;
    // A command that was ended by a signal has no code.
    let code = status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1);
    Ok(ExitCode::from(code))
}
