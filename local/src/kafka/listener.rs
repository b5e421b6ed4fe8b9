use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::cluster::Cluster;
use super::connection;

/// After a failed accept, mostly for want of file handles, which trying at once does not mend.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections that are closed for being too many are told of once in this time, with their number:
/// a flood of them must not become one of the log.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// Accepts connections until `stop` is requested, then waits for those that are open to end.
pub(super) async fn accept(cluster: Arc<Cluster>, listener: TcpListener, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    let mut refused = Refused::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(cause) => {
                warn!(%cause, "accept a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let limit = cluster.config.connections_max;
        if connections.len() >= limit {
            refused.tell(peer, limit);
            continue;
        }
        // Small answers go out at once; without this they wait for the client's acknowledgement.
        if let Err(cause) = socket.set_nodelay(true) {
            warn!(%peer, %cause, "set TCP_NODELAY");
        }
        connections.spawn(connection::serve(
            Arc::clone(&cluster),
            socket,
            peer,
            stop.clone(),
        ));
    }
    while connections.join_next().await.is_some() {}
}

/// Connections that were closed as they arrived.
#[derive(Default)]
struct Refused {
    /// Since it was told last.
    count: u64,
    told: Option<Instant>,
}

impl Refused {
    fn tell(&mut self, peer: SocketAddr, limit: usize) {
        self.count += 1;
        if self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
            let count = self.count;
            warn!(%peer, count, limit, "close connections, there are too many");
            self.count = 0;
            self.told = Some(Instant::now());
        }
    }
}
