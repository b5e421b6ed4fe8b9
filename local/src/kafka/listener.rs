use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::cluster::Cluster;
use super::connection;

/// After a failed accept, mostly for want of file handles, which trying at once does not mend.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until `stop` is requested, then waits for those that are open to end.
pub(super) async fn accept(cluster: Arc<Cluster>, listener: TcpListener, stop: CancellationToken) {
    let mut connections = JoinSet::new();
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
        if connections.len() >= cluster.config.connections_max {
            let limit = cluster.config.connections_max;
            warn!(%peer, limit, "close a connection, there are too many");
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
