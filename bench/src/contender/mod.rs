//! Who brings changes to the target.

pub(crate) mod floor;
mod lockstep;
mod metric;
pub(crate) mod native;

pub(crate) use lockstep::{Lockstep, Running};

use std::time::{Duration, Instant};

use anyhow::bail;
use testkit::postgres::Connection;

use crate::servers::Servers;
use crate::usage::cpu_seconds;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    Floor,
    Native,
    Lockstep(Kafka),
    /// The first half of Lockstep: from the source to where all counts in Kafka.
    Capture(Kafka),
}

/// What Lockstep goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kafka {
    Local,
    Apache,
}

impl Contender {
    /// The broker that takes part.
    pub(crate) fn kafka(self) -> Option<Kafka> {
        match self {
            Self::Floor | Self::Native => None,
            Self::Lockstep(kafka) | Self::Capture(kafka) => Some(kafka),
        }
    }

    /// As in results, and in names of databases.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Native => "native",
            Self::Lockstep(Kafka::Local) => "lockstep",
            Self::Lockstep(Kafka::Apache) => "lockstep_apache",
            Self::Capture(Kafka::Local) => "capture",
            Self::Capture(Kafka::Apache) => "capture_apache",
        }
    }
}

/// What one run took.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) seconds: f64,
    /// CPU seconds by process.
    pub(crate) cpu: Vec<(&'static str, f64)>,
    /// The most memory of a process, in megabytes.
    pub(crate) peak: Vec<(&'static str, f64)>,
}

/// The clock, and what the servers have used when it starts.
pub(crate) struct Watch {
    begun: Instant,
    used: Vec<(&'static str, u32, f64)>,
}

impl Watch {
    /// `kafka` is the broker that takes part.
    pub(crate) fn start(servers: &Servers, kafka: Option<Kafka>) -> Self {
        let mut pids = vec![
            ("source", servers.source.pid()),
            ("target", servers.target.pid()),
        ];
        pids.extend(kafka.map(|kafka| ("broker", servers.broker(kafka).pid)));
        let used = pids.into_iter();
        Self {
            used: used
                .map(|(name, pid)| (name, pid, cpu_seconds(pid)))
                .collect(),
            begun: Instant::now(),
        }
    }

    /// `own` are processes that began with the clock.
    pub(crate) fn stop(self, own: Vec<(&'static str, f64)>) -> Run {
        let seconds = self.begun.elapsed().as_secs_f64();
        let used = self.used.into_iter();
        let of_servers = used.map(|(name, pid, before)| (name, cpu_seconds(pid) - before));
        let mut cpu: Vec<_> = of_servers.collect();
        cpu.extend(own);
        Run {
            seconds,
            cpu,
            peak: Vec::new(),
        }
    }
}

/// So long may anything take that is waited for.
const LIMIT: Duration = Duration::from_secs(1800);
/// Between two looks, which cost nothing that shows.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Asks until it is so.
pub(crate) async fn until(
    target: &Connection,
    question: &str,
    parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let prepared = target.prepare(question).await?;
    while begun.elapsed() < LIMIT {
        let answer = target.query_one(&prepared, parameters).await?;
        if answer.get::<_, Option<bool>>(0) == Some(true) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    bail!("not true within {LIMIT:?}: {question}")
}
