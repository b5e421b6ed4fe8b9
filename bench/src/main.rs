//! How Lockstep does beside Postgres' own logical replication, side by side in one run: `bench --help`.

mod backlog;
mod brokers;
mod catch_up;
mod contender;
mod growth;
mod options;
mod plot;
mod report;
mod servers;
mod spread;
mod steady;
mod usage;
mod workload;

use std::process::ExitCode;

use clap::Parser;
use options::{Measure, Options};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    match &options.measure {
        Measure::CatchUp(catch_up) => catch_up::measure(&options, catch_up).await?,
        Measure::Steady(steady) => steady::measure(&options, steady).await?,
        Measure::Growth(growth) => growth::measure(&options, growth).await?,
        Measure::Brokers(brokers) => brokers::measure(&options, brokers).await?,
    }
    Ok(ExitCode::SUCCESS)
}
