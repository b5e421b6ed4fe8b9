//! Serves HTTP/1.1: accepts, bounds, drains.
//!
//! warp's own server sets no time limit on a request's header, and logs every client that hangs up
//! as an error; so warp routes here and this accepts.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use warp::Filter;
use warp::hyper::server::conn::http1;
use warp::reply::Response;

use crate::Shutdown;

/// How long a client may take to send a request's header; also how long an idle connection lives.
const HEADER_LIMIT: Duration = Duration::from_secs(30);

/// How large a request's header may be, in bytes.
const HEADER_BYTES: usize = 64 * 1024;

/// How many connections are served at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 1024;

/// How long requests that are under way at a stop may take to end.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// Pause after an error of `accept`, which is the process' or the machine's lack of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `routes` until a stop is requested, then lets the requests that are under way end.
pub async fn serve_http<F>(listener: TcpListener, routes: F, shutdown: &Shutdown)
where
    F: Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static,
{
    serve(listener, routes, shutdown, HEADER_LIMIT).await;
}

async fn serve<F>(listener: TcpListener, routes: F, shutdown: &Shutdown, header_limit: Duration)
where
    F: Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        // An ended connection makes room; accepting stops while there is none.
        let full = connections.len() >= CONNECTIONS;
        let stream = tokio::select! {
            biased;
            () = shutdown.requested() => break,
            Some(_) = connections.join_next() => continue,
            stream = accept(&listener), if !full => stream,
        };
        let service = TowerToHyperService::new(warp::service(routes.clone()));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header_limit)
            .max_buf_size(HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            // A connection that becomes a WebSocket is its route's from then on.
            .with_upgrades();
        let stop = shutdown.clone();
        connections.spawn(async move {
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                biased;
                ended = connection.as_mut() => ended,
                () = stop.requested() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                // A client that hangs up or speaks no HTTP is the client's affair.
                tracing::debug!(error = %crate::chain(&error), "connection ended early");
            }
        });
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN_LIMIT, drained).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "requests cut off at the stop"
        );
    }
    connections.shutdown().await;
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Small answers would else wait for the client's acknowledgement.
                if stream.set_nodelay(true).is_ok() {
                    return stream;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;
    use warp::Reply;

    use super::*;

    async fn ask(address: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream.write_all(request).await.unwrap();
        stream
    }

    #[tokio::test]
    async fn a_request_under_way_ends_before_the_stop() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (inside, released) = (Arc::clone(&entered), Arc::clone(&release));
        let routes = warp::any().then(move || {
            let (inside, released) = (Arc::clone(&inside), Arc::clone(&released));
            async move {
                inside.notify_one();
                released.notified().await;
                "done".into_response()
            }
        });
        let shutdown = Shutdown::new();
        let stop = shutdown.clone();
        let server = tokio::spawn(async move { serve_http(listener, routes, &stop).await });

        let mut stream = ask(address).await;
        entered.notified().await;
        shutdown.request();
        release.notify_one();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(answer.ends_with("done"), "{answer}");
        server.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn a_client_that_sends_no_header_is_hung_up_on() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = warp::any().map(|| "done".into_response());
        let server = tokio::spawn(async move {
            serve(
                listener,
                routes,
                &Shutdown::new(),
                Duration::from_millis(50),
            )
            .await;
        });
        // Nothing at all, half a header, and nothing after a first request.
        let whole: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
        for (sent, answers) in [(&b""[..], 0), (b"GET / HTTP/1.1\r\nhost: ", 0), (whole, 1)] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(sent).await.unwrap();
            let mut answer = String::new();
            // Were there no limit, this would wait for ever.
            stream.read_to_string(&mut answer).await.unwrap();
            assert_eq!(answer.matches("HTTP/1.1 200").count(), answers, "{answer}");
        }
        server.abort();
    }
}
