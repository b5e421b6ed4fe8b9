//! What is measured, and how often.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::contender::{Contender, Kafka};
use crate::workload::Workload;

/// Lockstep beside Postgres' own logical replication (native) and beside the bare decoding of the log
/// (floor), one after the other in one run.
#[derive(Debug, clap::Parser)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) measure: Measure,
    /// Also with Apache Kafka, which Maven fetches, in place of the local broker.
    #[arg(long, global = true)]
    apache: bool,
    /// Folder for the results as JSON, PNG and SVG.
    #[arg(long, global = true, default_value = "bench/results")]
    pub(crate) results: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Measure {
    /// How long a prepared backlog, or a first copy, takes to the target.
    CatchUp(CatchUp),
    /// How long a commit takes to be seen on the target, and the rate from which on it takes ever longer.
    Steady(Steady),
    /// What a row costs when there are more of them, and more tables.
    Growth(Growth),
    /// How fast the local broker is beside Apache Kafka, and the local registry.
    Brokers(Brokers),
}

#[derive(Debug, Args)]
pub(crate) struct CatchUp {
    /// Which workloads; all of them without it.
    #[arg(long, value_enum, value_delimiter = ',')]
    workloads: Vec<Workload>,
    /// How often each is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub(crate) pairs: u32,
    /// Also capture alone, up to where all counts in Kafka.
    #[arg(long)]
    capture: bool,
    /// Percent of the rows that a workload has.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1600))]
    pub(crate) percent: u32,
    /// Results of an earlier run to print beside these.
    #[arg(long, default_value = "bench/results/catch-up.json")]
    pub(crate) stored: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Steady {
    /// Transactions a second while the latency is measured.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(10..=5000))]
    pub(crate) rate: u32,
    /// How long each is loaded.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) seconds: u32,
    /// How often each is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub(crate) rounds: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Growth {
    /// How often each is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub(crate) pairs: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Brokers {
    /// How often each is measured, after a round that does not count.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub(crate) rounds: u32,
}

impl Options {
    /// Lockstep over each broker that is asked for.
    pub(crate) fn lockstep(&self) -> Vec<Contender> {
        let kafkas = match self.apache {
            true => &[Kafka::Local, Kafka::Apache][..],
            false => &[Kafka::Local],
        };
        kafkas.iter().copied().map(Contender::Lockstep).collect()
    }

    /// Those who apply what they bring.
    pub(crate) fn appliers(&self) -> Vec<Contender> {
        let mut contenders = vec![Contender::Native];
        contenders.extend(self.lockstep());
        contenders
    }

    pub(crate) fn kafkas(&self) -> Vec<Kafka> {
        let contenders = self.lockstep().into_iter();
        contenders.filter_map(Contender::kafka).collect()
    }
}

impl CatchUp {
    /// Who brings what a workload has.
    pub(crate) fn contenders(&self, options: &Options, workload: Workload) -> Vec<Contender> {
        let mut contenders = vec![Contender::Floor];
        contenders.extend(options.appliers());
        // A first copy has no end of its own in Kafka.
        if self.capture && workload != Workload::Snapshot {
            contenders.extend(options.kafkas().into_iter().map(Contender::Capture));
        }
        contenders
    }

    pub(crate) fn workloads(&self) -> Vec<Workload> {
        match self.workloads.is_empty() {
            true => Workload::value_variants().to_vec(),
            false => self.workloads.clone(),
        }
    }
}
