//! How long a prepared backlog takes to the target, side by side in one run: `bench --help`.

mod backlog;
mod contender;
mod options;
mod plot;
mod race;
mod report;
mod servers;
mod usage;
mod workload;

use std::process::ExitCode;

use clap::Parser;
use options::Options;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let servers = servers::Servers::start().await?;
    let mut results = Vec::new();
    for workload in options.workloads() {
        results.push(race::run(&servers, workload, &options).await?);
        report::table(&results);
    }
    report::write(&options, &results)?;
    plot::draw(&options, &results)?;
    println!("{}", report::summary(&results));
    Ok(ExitCode::SUCCESS)
}
