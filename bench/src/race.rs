//! All contenders on one backlog, in turn.

use std::time::Instant;

use crate::backlog::Backlog;
use crate::contender::{Lockstep, Run, floor, native};
use crate::options::Options;
use crate::servers::Servers;
use crate::workload::Workload;

/// Who brought the backlog to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    Floor,
    Native,
    Lockstep,
}

impl Contender {
    pub(crate) const ALL: [Self; 3] = [Self::Floor, Self::Native, Self::Lockstep];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Native => "native",
            Self::Lockstep => "lockstep",
        }
    }
}

/// What the runs on one backlog took.
pub(crate) struct Results {
    pub(crate) workload: Workload,
    pub(crate) changes: u32,
    runs: Vec<(Contender, Run)>,
}

impl Results {
    /// In the order of the pairs.
    pub(crate) fn of(&self, contender: Contender) -> impl Iterator<Item = &Run> {
        let runs = self.runs.iter().filter(move |(who, _)| *who == contender);
        runs.map(|(_, run)| run)
    }
}

/// # Errors
/// When a contender fails, or what it brought is not what the source has.
pub(crate) async fn run(
    servers: &Servers,
    workload: Workload,
    options: &Options,
) -> anyhow::Result<Results> {
    let progress = Progress::new(workload, options.pairs);
    let backlog = Backlog::tables(servers, workload, options.percent).await?;
    let mut pipelines = Vec::new();
    for pair in 1..=options.pairs {
        progress.says(&format!("pair {pair}: makes a pipeline"));
        pipelines.push(Lockstep::prepare(servers, &backlog, pair).await?);
    }
    progress.says("writes the backlog");
    let end = backlog.write().await?;
    let mut runs = Vec::new();
    for (pair, lockstep) in (1..).zip(pipelines) {
        servers.settle().await?;
        let floor = floor::run(servers, &backlog, &end, pair).await?;
        // Each goes first in every second pair, so that neither has the warmer caches.
        let native = async || native::run(servers, &backlog, &end, pair).await;
        let (native, lockstep) = match pair % 2 {
            0 => {
                let lockstep = lockstep.run(servers, &end).await?;
                (native().await?, lockstep)
            }
            _ => (native().await?, lockstep.run(servers, &end).await?),
        };
        let of_pair = [floor, native, lockstep];
        let [floor, native, lockstep] = of_pair.each_ref().map(|run| run.seconds);
        progress.says(&format!(
            "pair {pair}: floor {floor:.2} s, native {native:.2} s, lockstep {lockstep:.2} s"
        ));
        runs.extend(Contender::ALL.into_iter().zip(of_pair));
    }
    backlog.end(servers).await?;
    Ok(Results {
        workload,
        changes: workload.changes(options.percent),
        runs,
    })
}

/// What is being done, with the time since the workload began.
struct Progress {
    workload: Workload,
    pairs: u32,
    begun: Instant,
}

impl Progress {
    fn new(workload: Workload, pairs: u32) -> Self {
        Self {
            workload,
            pairs,
            begun: Instant::now(),
        }
    }

    fn says(&self, what: &str) {
        let seconds = self.begun.elapsed().as_secs();
        let (workload, pairs) = (self.workload.name(), self.pairs);
        eprintln!("{workload:<7} {seconds:>4} s  of {pairs}, {what}");
    }
}
