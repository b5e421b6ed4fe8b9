//! The `lockstep` command: settings, telemetry, run, exit code.

mod cli;
mod commands;
mod demo;
mod screen;

use std::process::ExitCode;

use cli::Cli;

fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match serve(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(cli: Cli) -> anyhow::Result<ExitCode> {
    service::telemetry::init(&cli.telemetry)?;
    // HTTP clients take the process' provider of cryptography; it may be installed once only.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    // On the threads that wait for sockets: woken up elsewhere, each message would cost two switches.
    let running = runtime.spawn(commands::run(cli.command));
    let outcome = runtime.block_on(running);
    // What is left are threads of clients whose servers do not answer; nobody waits for them.
    runtime.shutdown_background();
    outcome?
}
