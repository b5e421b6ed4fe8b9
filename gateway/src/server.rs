//! Takes requests and sockets off the port.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use service::{Shutdown, serve_http};
use tokio::net::TcpListener;
use warp::filters::path::FullPath;
use warp::reply::Response;
use warp::{Filter, Reply as _};

use crate::exchange::Exchange;
use crate::http::{HeaderMap, Method, Reply, Request, StatusCode};

/// Serves until the stop, then lets the requests that are under way end.
pub(crate) async fn serve(exchange: Arc<Exchange>, listener: TcpListener, stop: &Shutdown) {
    serve_http(listener, routes(exchange, stop.clone()), stop).await;
}

/// One route for everything but sockets: warp's own matching answers a wrong method without `Allow`
/// and a wrong path without a body.
fn routes(
    exchange: Arc<Exchange>,
    stop: Shutdown,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone {
    let sockets = Arc::clone(&exchange);
    let upgrade = warp::path!("graphql")
        .and(warp::ws())
        .and(warp::header::headers_cloned())
        .map(move |ws: warp::ws::Ws, headers: HeaderMap| {
            let exchange = Arc::clone(&sockets);
            let stop = stop.clone();
            match exchange.socket(&headers) {
                Err(refused) => refused.into(),
                Ok(socket) => {
                    let protocol = socket.protocol();
                    let reply = ws
                        .max_message_size(exchange.body_limit())
                        .max_frame_size(exchange.body_limit())
                        .on_upgrade(move |ws| async move {
                            tokio::select! {
                                biased;
                                () = stop.requested() => {}
                                () = socket.serve(ws) => {}
                            }
                        });
                    warp::reply::with_header(reply, "sec-websocket-protocol", protocol)
                        .into_response()
                }
            }
        });
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let requests = warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |method, path, query, headers, body| {
            let request = request(method, &path, query, headers, body);
            let exchange = Arc::clone(&exchange);
            async move { Response::from(exchange.answer(request).await) }
        });
    // The second of these filters rejects nothing, but its type does not say so.
    let failed =
        |_| async { Ok::<_, Infallible>(Reply::empty(StatusCode::INTERNAL_SERVER_ERROR).into()) };
    upgrade.or(requests).unify().recover(failed).unify()
}

fn request(
    method: Method,
    path: &FullPath,
    query: String,
    headers: HeaderMap,
    body: impl Stream<Item = Result<impl Buf, warp::Error>> + Send + 'static,
) -> Request {
    let chunks = body.map(|chunk| {
        let mut chunk = chunk.map_err(|_| ())?;
        Ok::<Bytes, ()>(chunk.copy_to_bytes(chunk.remaining()))
    });
    Request {
        method,
        path: path.as_str().to_owned(),
        query,
        headers,
        body: chunks.boxed(),
    }
}
