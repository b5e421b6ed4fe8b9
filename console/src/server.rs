//! Takes requests off the port.

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
use crate::http::{Body, Reply, Request, StatusCode};

/// Serves until the stop, then lets the requests that are under way end.
pub(crate) async fn serve(exchange: Arc<Exchange>, listener: TcpListener, stop: &Shutdown) {
    serve_http(listener, routes(exchange), stop).await;
}

/// One route: what a path is, and who may go there, is for `exchange` to say.
fn routes(
    exchange: Arc<Exchange>,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let requests = warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |method, path: FullPath, query, headers, body| {
            let request = Request {
                method,
                path: path.as_str().to_owned(),
                query,
                headers,
            };
            let (body, exchange) = (chunks(body), Arc::clone(&exchange));
            async move { Response::from(exchange.answer(request, body).await) }
        });
    // The filters above reject nothing, but their types do not say so.
    let failed =
        |_| async { Ok::<_, Infallible>(Reply::empty(StatusCode::INTERNAL_SERVER_ERROR).into()) };
    requests.recover(failed).unify()
}

fn chunks(body: impl Stream<Item = Result<impl Buf, warp::Error>> + Send + 'static) -> Body {
    let chunks = body.map(|chunk| {
        let mut chunk = chunk.map_err(|_| ())?;
        Ok::<Bytes, ()>(chunk.copy_to_bytes(chunk.remaining()))
    });
    chunks.boxed()
}
