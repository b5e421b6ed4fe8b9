//! Runs a command with `TEST_KAFKA_BOOTSTRAP` naming a Kafka that lives as long as the command:
//! `with-kafka cargo test -p local --test kafka`. For tests that cannot use this crate, as the
//! local broker's own cannot.

use std::process::ExitCode;

use anyhow::Context;
use testkit::kafka;
use tokio::process::Command;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    let program = words.next().context("say which command to run")?;
    let server = kafka::Server::start_with(kafka::Creation::ByUse).await;
    let mut command = Command::new(program);
    command
        .args(words)
        .env("TEST_KAFKA_BOOTSTRAP", server.bootstrap());
    let status = command.status().await.context("run the command")?;
    // A command that was ended by a signal has no code.
    let code = status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1);
    Ok(ExitCode::from(code))
}
