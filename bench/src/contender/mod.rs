//! Who brings the backlog to the target.

pub(crate) mod floor;
mod lockstep;
pub(crate) mod native;

pub(crate) use lockstep::Lockstep;

use std::time::Instant;

use testkit::postgres::Connection;

use crate::servers::Servers;
use crate::usage::cpu_seconds;

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
struct Watch {
    begun: Instant,
    used: Vec<(&'static str, u32, f64)>,
}

impl Watch {
    fn start(servers: &Servers) -> Self {
        let pids = [
            ("source", servers.source.pid()),
            ("target", servers.target.pid()),
            ("broker", servers.broker.pid()),
        ];
        Self {
            used: pids
                .map(|(name, pid)| (name, pid, cpu_seconds(pid)))
                .to_vec(),
            begun: Instant::now(),
        }
    }

    /// `own` are processes that began with the clock.
    fn stop(self, own: Vec<(&'static str, f64)>) -> Run {
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

/// Asks every few milliseconds, which costs the target nothing that shows.
async fn until(
    target: &Connection,
    question: &str,
    parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> anyhow::Result<()> {
    let question = target.prepare(question).await?;
    loop {
        let answer = target.query_one(&question, parameters).await?;
        if answer.get::<_, Option<bool>>(0) == Some(true) {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
