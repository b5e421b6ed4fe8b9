//! A service and the port that tells how it is.

use std::net::SocketAddr;
use std::time::Duration;

use service::listener::{Protection, refuse_exposure};
use service::{Monitor, Shutdown, serve_monitor};
use tracing::warn;

/// Where a service tells its metrics and health.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct MetricsConfig {
    /// Listen for questions about metrics beyond loopback, although nobody is asked who they are
    #[arg(long, env = "LOCKSTEP_METRICS_ALLOW_ANONYMOUS")]
    metrics_allow_anonymous: bool,
}

impl MetricsConfig {
    /// # Errors
    /// When others could reach `listen` and nobody allowed it.
    pub(crate) fn require_allowed(&self, listen: SocketAddr) -> anyhow::Result<()> {
        let protection = match self.metrics_allow_anonymous {
            true => Protection::Present,
            false => Protection::Absent,
        };
        let mend = "allow it with --metrics-allow-anonymous";
        Ok(refuse_exposure(
            listen,
            "--metrics-listen",
            protection,
            mend,
        )?)
    }
}

/// Runs a service with its monitor until a stop is requested; when one ends, so does the other.
///
/// # Errors
/// What ended the service, or kept its port from being served.
pub(crate) async fn monitored<F>(
    listen: SocketAddr,
    shutdown: Shutdown,
    run: impl FnOnce(Monitor, Shutdown) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let monitor = Monitor::new();
    let stop = shutdown.child();
    let served = async {
        let outcome = serve_monitor(listen, monitor.clone(), stop.clone()).await;
        stop.request();
        outcome
    };
    let ran = async {
        let outcome = tokio::select! {
            biased;
            outcome = run(monitor.clone(), stop.clone()) => outcome,
            () = overdue(&stop) => {
                warn!(limit_s = STOP_LIMIT.as_secs(), "the service does not stop; giving it up");
                Ok(())
            }
        };
        stop.request();
        outcome
    };
    let (served, ran) = tokio::join!(served, ran);
    ran?;
    Ok(served?)
}

/// How long a stop may take. Giving a service up is what `kill -9` does to it: nothing is lost, the
/// next start has more to do.
const STOP_LIMIT: Duration = Duration::from_secs(20);

async fn overdue(stop: &Shutdown) {
    stop.requested().await;
    tokio::time::sleep(STOP_LIMIT).await;
}
