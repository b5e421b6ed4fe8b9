//! Takes requests off the socket and puts answers on it. All that the API needs of warp is here
//! and in `http`.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use service::{Shutdown, serve_http};
use tokio::net::TcpListener;
use warp::Filter;
use warp::filters::path::FullPath;
use warp::reply::Response;

use crate::exchange::Exchange;
use crate::http::{Body, HeaderMap, Method, Reply, Request, StatusCode};

/// Serves until the stop, then lets the requests that are under way end.
pub(crate) async fn serve(exchange: Arc<Exchange>, listener: TcpListener, stop: &Shutdown) {
    serve_http(listener, routes(exchange), stop).await;
}

/// One route for everything: warp's own matching answers a wrong method without `Allow` and a wrong
/// path without a body.
fn routes(
    exchange: Arc<Exchange>,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let routes = warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |method, path, query, headers, body| {
            let request = request(method, &path, query, headers, body);
            let exchange = Arc::clone(&exchange);
            async move { exchange.answer(request).await.into() }
        });
    // None of these filters rejects a request, but their types do not say so.
    let failed =
        |_| async { Ok::<_, Infallible>(Reply::empty(StatusCode::INTERNAL_SERVER_ERROR).into()) };
    routes.recover(failed).unify()
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
        body: Body::new(&headers, chunks.boxed()),
        headers,
    }
}
