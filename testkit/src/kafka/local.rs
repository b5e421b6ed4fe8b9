//! The local broker, in the test's process.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ::local::kafka::{Broker, Config};
use anyhow::Context;
use tokio::runtime::{Builder, Runtime};

use super::Creation;
use crate::guardian::{Farewell, Guardian};
use crate::port;

/// A broker with a runtime of its own, whose end is as close to a kill as a thread can have it.
#[derive(Debug)]
pub(super) struct Node {
    config: Config,
    /// `None` while it is down.
    running: Option<Running>,
    _guardian: Guardian,
}

#[derive(Debug)]
struct Running {
    /// `None` once it was told to end.
    runtime: Option<Runtime>,
    _broker: Broker,
}

impl Node {
    pub(super) async fn start(creation: Creation) -> anyhow::Result<Self> {
        let guardian = Guardian::new(Farewell::Kill)?;
        let mut config = Config::new(guardian.dir().join("kafka"));
        config.listen = SocketAddr::from(([127, 0, 0, 1], port::free()));
        config.auto_create_topics = creation == Creation::ByUse;
        let running = Some(Running::start(config.clone()).await?);
        Ok(Self {
            config,
            running,
            _guardian: guardian,
        })
    }

    pub(super) fn port(&self) -> u16 {
        self.config.listen.port()
    }

    pub(super) async fn kill(&mut self) {
        let mut running = self.running.take().expect("the broker runs");
        let runtime = running.runtime.take().expect("it is not yet dropped");
        let end = move || runtime.shutdown_timeout(Duration::from_secs(10));
        tokio::task::spawn_blocking(end)
            .await
            .expect("ending a runtime does not panic");
    }

    pub(super) async fn restart(&mut self) -> anyhow::Result<()> {
        assert!(self.running.is_none(), "the broker runs");
        self.running = Some(Running::start(self.config.clone()).await?);
        Ok(())
    }
}

impl Running {
    async fn start(config: Config) -> anyhow::Result<Self> {
        let runtime = new_runtime().context("start a runtime")?;
        let started = runtime.spawn(Broker::start(config)).await;
        let broker = started.expect("starting is not cancelled")?;
        Ok(Self {
            runtime: Some(runtime),
            _broker: broker,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Plain dropping waits, which tokio forbids inside of another runtime.
            runtime.shutdown_background();
        }
    }
}

fn new_runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("broker")
        .enable_all()
        .build()
}
