//! What `lockstep up` has started, in that order.

use anyhow::{Context, anyhow};
use futures_util::future::select_all;
use service::Shutdown;
use tokio::task::JoinHandle;
use tracing::error;

/// The running parts.
#[derive(Debug, Default)]
pub(super) struct Parts(Vec<Part>);

#[derive(Debug)]
struct Part {
    name: &'static str,
    stop: Shutdown,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Parts {
    /// Starts a part's task. It runs until the request that it is handed.
    pub(super) fn add<F>(&mut self, name: &'static str, work: impl FnOnce(Shutdown) -> F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        // One request for each, so that they can be stopped one after the other.
        let stop = Shutdown::new();
        let task = tokio::spawn(work(stop.clone()));
        self.0.push(Part { name, stop, task });
    }

    /// Returns when a part has ended although nobody asked it to, with the reason. Cancel-safe.
    pub(super) async fn ended(&mut self) -> anyhow::Error {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        let (outcome, index, _) = select_all(self.0.iter_mut().map(|part| &mut part.task)).await;
        // A task that was waited for must not be waited for again.
        let name = self.0.remove(index).name;
        match outcome {
            Ok(Ok(())) => anyhow!("{name} has ended by itself"),
            Ok(Err(error)) => error.context(name),
            Err(panic) => anyhow::Error::new(panic).context(name),
        }
    }

    /// Stops the parts, the last started first, each after the one before it has ended.
    ///
    /// # Errors
    /// The first that did not end in order; the others are stopped nevertheless.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        for part in self.0.into_iter().rev() {
            part.stop.request();
            let ended = match part.task.await {
                Ok(ended) => ended,
                Err(panic) => Err(panic.into()),
            };
            let ended = ended.with_context(|| format!("stop {}", part.name));
            if let Err(error) = &ended {
                error!(error = format!("{error:#}"), "a part did not end in order");
            }
            outcome = outcome.and(ended);
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn the_last_started_stops_first() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut parts = Parts::default();
        for name in ["first", "second"] {
            let order = Arc::clone(&order);
            parts.add(name, |stop| async move {
                stop.requested().await;
                order.lock().unwrap().push(name);
                Ok(())
            });
        }
        parts.stop().await.unwrap();
        assert_eq!(*order.lock().unwrap(), ["second", "first"]);
    }

    #[tokio::test]
    async fn a_part_that_ends_is_named_and_the_others_are_stopped() {
        let mut parts = Parts::default();
        parts.add("lasting", |stop| async move {
            stop.requested().await;
            Ok(())
        });
        parts.add("failing", |_| async { Err(anyhow!("no more")) });
        let error = parts.ended().await;
        assert_eq!(format!("{error:#}"), "failing: no more");
        parts.stop().await.unwrap();
    }
}
