use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use bytes::{Bytes, BytesMut};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::info;

use super::cluster::{Cluster, LARGE_REQUESTS_MAX, now_ms};
use super::config::{Config, Fsync};
use super::connection;
use super::disk::Disk;
use super::groups::Coordinator;
use super::housekeeping;
use super::identity::{Identity, IdentityError};
use super::journal::Sync;
use super::listener;
use super::lock::{DirectoryLock, LockError};
use super::log::{Partition, Settings};
use super::offsets::Offsets;
use super::producer_ids::ProducerIds;
use super::topics::Topics;
use super::transactions::Transactions;

/// Partitions whose files stay open between appends. Others open them each time.
const OPEN_PARTITIONS_MAX: usize = 128;

/// Partitions that are forced to the disk at one time when the broker stops.
const SETTLING_THREADS: usize = 16;

/// A running broker. Dropping it without [`Broker::stop`] is like a kill: nothing that was
/// acknowledged is lost, but the next start has more to check.
#[derive(Debug)]
pub struct Broker {
    cluster: Arc<Cluster>,
    identity: Identity,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    _stop_when_dropped: DropGuard,
}

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "the local Kafka broker listens on loopback only, not on {0}: choose an address like \
         127.0.0.1, or use a real cluster to serve other machines"
    )]
    NotLoopback(SocketAddr),
    #[error(
        "the data directory {path} is used by {holder}: stop it, or choose another data directory"
    )]
    Locked { path: PathBuf, holder: String },
    #[error("the data directory {path} cannot be written: make it writable, or choose another")]
    Directory { path: PathBuf, source: io::Error },
    #[error("port {} on {} is taken: stop what listens there, or choose another port", .0.port(), .0.ip())]
    PortTaken(SocketAddr),
    #[error("listen on {address}")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("{path} was written by another version: choose another data directory, or remove it")]
    Version { path: PathBuf },
    #[error("open the log in {path}")]
    Open { path: PathBuf, source: io::Error },
}

/// Why a broker did not stop in order. Nothing that was acknowledged is lost.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    #[error("write the log of a stopping broker")]
    Write(#[source] io::Error),
    #[error("a task of the broker failed")]
    Task(#[source] JoinError),
}

impl Broker {
    /// Starts a broker; it serves once this returns.
    ///
    /// # Errors
    /// Each names what is in the way and what to do about it.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        if !config.listen.ip().is_loopback() {
            return Err(StartError::NotLoopback(config.listen));
        }
        let lock = lock_directory(&config.data_dir)?;
        let listener = listen(config.listen).await?;
        let address = listener.local_addr().map_err(|source| StartError::Listen {
            address: config.listen,
            source,
        })?;
        let (cluster, identity) = open(config, address, lock).await?;

        let stop = CancellationToken::new();
        let tasks = vec![
            tokio::spawn(listener::accept(
                Arc::clone(&cluster),
                listener,
                stop.clone(),
            )),
            tokio::spawn(housekeeping::run(Arc::clone(&cluster), stop.clone())),
            tokio::spawn(housekeeping::flush(Arc::clone(&cluster), stop.clone())),
            tokio::spawn(housekeeping::compact(Arc::clone(&cluster), stop.clone())),
            tokio::spawn(housekeeping::keep_group_time(
                Arc::clone(&cluster),
                stop.clone(),
            )),
        ];
        info!(%address, path = %cluster.config.data_dir.display(), "local Kafka broker serves");
        let guard = stop.clone().drop_guard();
        Ok(Self {
            cluster,
            identity,
            stop,
            tasks,
            _stop_when_dropped: guard,
        })
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.cluster.address
    }

    /// Answers one request, its length taken off, as a connection does; `None` where nothing is
    /// answered or the connection would end. For fuzzers, which need no socket.
    #[doc(hidden)]
    pub async fn answer(&self, request: Bytes) -> Option<Bytes> {
        let answered = connection::answer(&self.cluster, request).await;
        answered.ok().flatten().map(BytesMut::freeze)
    }

    /// Ends all connections and leaves everything on disk, so that the next start is quick.
    ///
    /// # Errors
    /// When something could not be written; the next start then checks the log as after a kill.
    pub async fn stop(self) -> Result<(), StopError> {
        self.stop.cancel();
        for task in self.tasks {
            task.await.map_err(StopError::Task)?;
        }
        self.cluster.disk.close().await;
        let (cluster, identity) = (self.cluster, self.identity);
        let settle = move || -> io::Result<()> {
            settle_partitions(&cluster)?;
            cluster.offsets.sync()?;
            cluster.transactions.sync()?;
            identity.mark_clean()
        };
        let settled = tokio::task::spawn_blocking(settle)
            .await
            .map_err(StopError::Task)?;
        settled.map_err(StopError::Write)?;
        info!("local Kafka broker stopped");
        Ok(())
    }
}

/// Forces all partitions to the disk and writes down where they end, several at a time: a disk
/// takes many small requests together in little more time than one.
fn settle_partitions(cluster: &Cluster) -> io::Result<()> {
    let topics = cluster.topics.all();
    let all: Vec<Arc<Partition>> = topics.iter().flat_map(|topic| topic.partitions()).collect();
    let settle = |part: &[Arc<Partition>]| {
        part.iter().try_for_each(|partition| {
            partition.flush_finished()?;
            partition.sync()?;
            partition.checkpoint(now_ms())
        })
    };
    thread::scope(|scope| {
        let parts = all.chunks(all.len().div_ceil(SETTLING_THREADS).max(1));
        let threads: Vec<_> = parts
            .map(|part| scope.spawn(move || settle(part)))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a thread failed")))
        })
    })
}

fn lock_directory(path: &Path) -> Result<DirectoryLock, StartError> {
    let unusable = |source| StartError::Directory {
        path: path.to_owned(),
        source,
    };
    fs::create_dir_all(path).map_err(unusable)?;
    DirectoryLock::take(&path.join("broker.lock")).map_err(|error| match error {
        LockError::Io(source) => unusable(source),
        LockError::Held(holder) => StartError::Locked {
            path: path.to_owned(),
            holder: holder.map_or_else(
                || "another process".to_owned(),
                |process| format!("process {process}"),
            ),
        },
    })
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => StartError::PortTaken(address),
            _ => StartError::Listen { address, source },
        })
}

/// Opens what is on disk, on a thread where that may take its time.
async fn open(
    config: Config,
    address: SocketAddr,
    lock: DirectoryLock,
) -> Result<(Arc<Cluster>, Identity), StartError> {
    let path = config.data_dir.clone();
    let open = move || -> Result<_, StartError> {
        let failed = |source| StartError::Open {
            path: config.data_dir.clone(),
            source,
        };
        let (identity, trust) = Identity::open(&config.data_dir).map_err(|error| match error {
            IdentityError::Io(source) => failed(source),
            IdentityError::Version(path) => StartError::Version { path },
        })?;
        let settings = Settings {
            fsync: config.fsync,
            leader_epoch: identity.leader_epoch(),
            open_files: Arc::new(Semaphore::new(OPEN_PARTITIONS_MAX)),
        };
        let topics = Topics::open(&config.data_dir, &config, &settings, trust).map_err(failed)?;
        let producer_ids = ProducerIds::open(&config.data_dir).map_err(failed)?;
        let sync = match config.fsync {
            Fsync::EachRequest => Sync::EachChange,
            Fsync::OperatingSystem | Fsync::Every(_) => Sync::Never,
        };
        let offsets = Offsets::open(&config.data_dir, sync).map_err(failed)?;
        let (topics, offsets) = (Arc::new(topics), Arc::new(offsets));
        let producer_ids = Arc::new(producer_ids);
        let transactions = Transactions::open(
            &config.data_dir,
            sync,
            config.transaction_timeout_max,
            (
                Arc::clone(&topics),
                Arc::clone(&offsets),
                Arc::clone(&producer_ids),
            ),
            now_ms(),
        );
        let transactions = transactions.map_err(failed)?;
        let groups =
            Coordinator::open(&config.data_dir, config.group_initial_delay).map_err(failed)?;
        let cluster = Cluster {
            id: identity.cluster_id().to_owned(),
            address,
            topics,
            producer_ids,
            groups,
            offsets,
            transactions: Arc::new(transactions),
            disk: Disk::new(),
            large_requests: Semaphore::new(LARGE_REQUESTS_MAX),
            _lock: lock,
            config,
        };
        Ok((Arc::new(cluster), identity))
    };
    let opened = tokio::task::spawn_blocking(open).await;
    opened.map_err(|cause| StartError::Open {
        path,
        source: io::Error::other(cause),
    })?
}
