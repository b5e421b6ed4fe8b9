//! What is measured, and how often.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::workload::Workload;

/// How long a prepared backlog takes to the target: the bare decoding of the log (floor), Postgres'
/// own logical replication (native) and Lockstep, one after the other in one run.
#[derive(Debug, clap::Parser)]
pub(crate) struct Options {
    /// Which backlogs; all of them without it.
    #[arg(long, value_enum, value_delimiter = ',')]
    workloads: Vec<Workload>,
    /// How often each is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub(crate) pairs: u32,
    /// Percent of the rows that a backlog has.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1600))]
    pub(crate) percent: u32,
    /// Folder for results.json, results.png and results.svg.
    #[arg(long, default_value = "bench/results")]
    pub(crate) results: PathBuf,
}

impl Options {
    pub(crate) fn workloads(&self) -> Vec<Workload> {
        match self.workloads.is_empty() {
            true => Workload::value_variants().to_vec(),
            false => self.workloads.clone(),
        }
    }
}
