//! Starting and stopping the registry.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::ledger::Ledger;
use super::routes::{self, SharedLedger};
use super::store::{OpenError, Store};

/// Where the registry keeps its schemas and where it listens.
#[derive(Clone, Debug)]
pub struct Config {
    /// Created when it does not exist; its directory must.
    pub file: PathBuf,
    /// A loopback address: the registry knows no users. Port 0 takes any free one.
    pub listen: SocketAddr,
}

/// A running registry. Dropping it stops it without waiting for requests that have begun.
#[derive(Debug)]
pub struct Registry {
    addr: SocketAddr,
    ledger: SharedLedger,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Registry {
    /// Reads the file and answers requests from then on.
    ///
    /// # Errors
    ///
    /// The address is not loopback or is taken; the file cannot be opened, is locked by another
    /// process, or is corrupt.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let Config { file, listen } = config;
        if !listen.ip().is_loopback() {
            return Err(StartError::NotLoopback(listen));
        }
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|cause| StartError::Listen { listen, cause })?;
        let addr = listener
            .local_addr()
            .map_err(|cause| StartError::Listen { listen, cause })?;
        let opened = tokio::task::spawn_blocking(move || Store::open(&file));
        let (store, state) = opened.await.map_err(|_| StartError::Interrupted)??;
        let ledger = Arc::new(Mutex::new(Some(Ledger::new(state, store))));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(routes::serve(listener, Arc::clone(&ledger), async {
            // An error means that the registry was dropped, which asks for the same.
            let _ = stopped.await;
        }));
        tracing::info!(%addr, "schema registry started");
        Ok(Self {
            addr,
            ledger,
            stop,
            task,
        })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops listening, finishes the requests that have begun, and unlocks the file.
    pub async fn stop(self) {
        // The receiver is gone only when the server has ended already.
        let _ = self.stop.send(());
        let mut task = self.task;
        if tokio::time::timeout(DRAIN_TIME, &mut task).await.is_err() {
            tracing::warn!("a client held its connection to the schema registry; closed it");
            task.abort();
        }
        let ledger = self.ledger;
        let closed = tokio::task::spawn_blocking(move || match ledger.lock() {
            Ok(mut ledger) => drop(ledger.take()),
            Err(poisoned) => drop(poisoned.into_inner().take()),
        });
        if closed.await.is_err() {
            tracing::error!("closing the schema registry's file failed");
        }
    }
}

/// Requests take milliseconds; a client that takes longer than this has stopped sending.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Why the registry did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "the schema registry listens on loopback only, not on {0}: it does not authenticate anyone"
    )]
    NotLoopback(SocketAddr),
    #[error(
        "the schema registry cannot listen on {listen}: {cause}; stop what uses the port or choose another"
    )]
    Listen {
        listen: SocketAddr,
        cause: io::Error,
    },
    #[error(transparent)]
    File(#[from] OpenError),
    #[error("reading the registry file was interrupted")]
    Interrupted,
}
