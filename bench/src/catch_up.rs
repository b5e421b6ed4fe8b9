//! All contenders on one workload, in turn.

use std::time::Instant;

use anyhow::bail;

use crate::backlog::Backlog;
use crate::contender::{Contender, Kafka, Lockstep, Run, floor, native};
use crate::options::{CatchUp, Options};
use crate::servers::Servers;
use crate::workload::{Scale, Workload};
use crate::{plot, report};

/// What the runs on one workload took.
pub(crate) struct Results {
    pub(crate) workload: Workload,
    pub(crate) scale: Scale,
    pub(crate) contenders: Vec<Contender>,
    runs: Vec<(Contender, Run)>,
}

impl Results {
    /// In the order of the pairs.
    pub(crate) fn of(&self, contender: Contender) -> impl Iterator<Item = &Run> {
        let runs = self.runs.iter().filter(move |(who, _)| *who == contender);
        runs.map(|(_, run)| run)
    }

    pub(crate) fn changes(&self) -> f64 {
        f64::from(self.workload.changes(self.scale))
    }
}

/// # Errors
/// As [`race`], or when the results cannot be written.
pub(crate) async fn measure(options: &Options, catch_up: &CatchUp) -> anyhow::Result<()> {
    let stored = report::stored(&catch_up.stored)?;
    let servers = Servers::start(&options.kafkas()).await?;
    let scale = Scale {
        percent: catch_up.percent,
        tables: 1,
    };
    let mut results = Vec::new();
    for workload in catch_up.workloads() {
        let contenders = catch_up.contenders(options, workload);
        results.push(race(&servers, workload, scale, &contenders, catch_up.pairs).await?);
        report::table(&results);
        // After each, so that a run which is ended early leaves what it has.
        report::write(options, "catch-up", &report::catch_up(catch_up, &results))?;
    }
    let shown = [&[Contender::Floor][..], &options.appliers()].concat();
    plot::rates(options, &shown, &results)?;
    if let Some(stored) = stored {
        println!("stored: {stored}");
    }
    for contender in options.lockstep().into_iter().rev() {
        println!("bench: {}", report::summary(&results, contender));
    }
    Ok(())
}

/// # Errors
/// When a contender fails, or what it brought is not what the source has.
pub(crate) async fn race(
    servers: &Servers,
    workload: Workload,
    scale: Scale,
    contenders: &[Contender],
    pairs: u32,
) -> anyhow::Result<Results> {
    let progress = Progress::new(workload, pairs);
    progress.says("makes the tables");
    let backlog = Backlog::tables(servers, workload, scale).await?;
    let race = Race {
        servers,
        backlog,
        contenders,
        pairs,
        progress,
    };
    let runs = match workload {
        Workload::Snapshot => race.copies().await?,
        _ => race.backlogs().await?,
    };
    race.backlog.end(servers).await?;
    Ok(Results {
        workload,
        scale,
        contenders: contenders.to_vec(),
        runs,
    })
}

/// What is needed to run one workload.
struct Race<'a> {
    servers: &'a Servers,
    backlog: Backlog,
    contenders: &'a [Contender],
    pairs: u32,
    progress: Progress,
}

impl Race<'_> {
    /// Brings the same backlog to targets.
    async fn backlogs(&self) -> anyhow::Result<Vec<(Contender, Run)>> {
        let (servers, backlog) = (self.servers, &self.backlog);
        let mut pipelines = Vec::new();
        for contender in self.contenders {
            if contender.kafka().is_none() {
                continue;
            }
            for pair in first_pair(*contender)..=self.pairs {
                let name = contender.name();
                self.progress.says(&format!("makes {name} {pair}"));
                let pipeline = Lockstep::at_slot(servers, backlog, *contender, pair).await?;
                pipelines.push(((*contender, pair), pipeline));
            }
        }
        self.progress.says("writes the backlog");
        let end = backlog.write().await?;
        let of = |contender, pair| {
            let mut pipelines = pipelines.iter();
            let found = pipelines.find(|(of, _)| *of == (contender, pair));
            found.map(|(_, pipeline)| pipeline)
        };
        if let Some(warming) = of(Contender::Lockstep(Kafka::Apache), 0) {
            self.progress.says("warms Apache Kafka");
            warming.catch_up(servers, &end).await?;
        }
        let run = async |contender, pair| match contender {
            Contender::Floor => {
                servers.settle().await?;
                floor::catch_up(servers, backlog, &end, pair).await
            }
            Contender::Native => native::catch_up(servers, backlog, &end, pair).await,
            Contender::Lockstep(_) => {
                let pipeline = of(contender, pair).expect("one was made for each pair");
                pipeline.catch_up(servers, &end).await
            }
            Contender::Capture(_) => {
                let pipeline = of(contender, pair).expect("one was made for each pair");
                pipeline.capture(servers, &end).await
            }
        };
        self.in_turns(run).await
    }

    /// Copies the same tables to targets.
    async fn copies(&self) -> anyhow::Result<Vec<(Contender, Run)>> {
        let (servers, backlog) = (self.servers, &self.backlog);
        if self
            .contenders
            .contains(&Contender::Lockstep(Kafka::Apache))
        {
            self.progress.says("warms Apache Kafka");
            self.copy(Contender::Lockstep(Kafka::Apache), 0).await?;
        }
        let run = async |contender, pair| match contender {
            Contender::Floor => {
                servers.settle().await?;
                floor::copy(servers, backlog).await
            }
            Contender::Native => native::copy(servers, backlog, pair).await,
            Contender::Lockstep(_) => self.copy(contender, pair).await,
            Contender::Capture(_) => bail!("a first copy has no end of its own in Kafka"),
        };
        self.in_turns(run).await
    }

    /// Each goes first in turn, so that none has the warmer caches.
    async fn in_turns(
        &self,
        run: impl AsyncFn(Contender, u32) -> anyhow::Result<Run>,
    ) -> anyhow::Result<Vec<(Contender, Run)>> {
        let mut contenders = self.contenders.to_vec();
        let mut runs = Vec::new();
        for pair in 1..=self.pairs {
            contenders.rotate_left(1);
            for contender in &contenders {
                let ran = run(*contender, pair).await?;
                let (name, seconds) = (contender.name(), ran.seconds);
                let says = format!("pair {pair}: {name} {seconds:.2} s");
                self.progress.says(&says);
                runs.push((*contender, ran));
            }
        }
        Ok(runs)
    }

    async fn copy(&self, contender: Contender, pair: u32) -> anyhow::Result<Run> {
        let (servers, backlog) = (self.servers, &self.backlog);
        let pipeline = Lockstep::set_up(servers, backlog, contender, pair).await?;
        let run = pipeline.copy(servers).await?;
        backlog.drop_target(servers, &pipeline.name).await?;
        Ok(run)
    }
}

/// Apache Kafka's Java machine gets a run that does not count.
fn first_pair(contender: Contender) -> u32 {
    match contender {
        Contender::Lockstep(Kafka::Apache) => 0,
        _ => 1,
    }
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
        eprintln!("{workload:<8} {seconds:>4} s  of {pairs}, {what}");
    }
}
