//! One request to stop, seen by every task.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// The request to stop. Clones share one request; it is made once and never taken back.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    pub fn new() -> Self {
        Self::default()
    }

    /// A request that SIGINT or SIGTERM makes. Call it inside a Tokio runtime.
    ///
    /// The second signal ends the process at once, so that a stop that hangs can be cut short.
    ///
    /// # Errors
    ///
    /// When the signal handlers cannot be installed.
    pub fn on_signals() -> io::Result<Self> {
        let shutdown = Self::new();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let requested = shutdown.clone();
        // Lives as long as the runtime: it has nothing to hand back, so nobody joins it.
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = interrupt.recv() => "SIGINT",
                    _ = terminate.recv() => "SIGTERM",
                };
                if requested.is_requested() {
                    std::process::exit(130);
                }
                info!(signal = name, "stopping");
                requested.request();
            }
        });
        Ok(shutdown)
    }

    pub fn request(&self) {
        self.0.cancel();
    }

    /// Completes once the stop was requested. Cancel-safe.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }

    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// A request that this one makes too, but that can be made without this one.
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_sees_the_request() {
        let shutdown = Shutdown::new();
        let other = shutdown.clone();
        assert!(!other.is_requested());
        shutdown.request();
        other.requested().await;
        assert!(other.is_requested());
    }

    #[test]
    fn a_child_stops_alone_and_with_its_parent() {
        let parent = Shutdown::new();
        let alone = parent.child();
        alone.request();
        assert!(!parent.is_requested());
        let together = parent.child();
        parent.request();
        assert!(together.is_requested());
    }
}
