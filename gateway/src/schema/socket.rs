//! Operations over a WebSocket: the protocols graphql-transport-ws and graphql-ws.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_graphql::http::WebSocketProtocols;
use async_graphql::{Data, Executor, Request, Response};
use async_graphql_warp::GraphQLWebSocket;
use futures_util::SinkExt;
use futures_util::stream::{self, BoxStream, SplitSink, StreamExt};
use serde_json::Value;
use service::Secret;
use service::http::carries_token;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, interval_at, timeout};
use tokio_util::sync::PollSender;

use super::error::{coded, with_code};
use super::operations::count;
use super::{Schema, Session};
use crate::http::{Message, WebSocket};
use crate::metrics::Metrics;
use crate::upstream::{Caller, Upstream};

/// How many operations one socket may have under way.
const OPERATIONS: usize = 20;

/// How often a client is asked whether it is still there. One that answers nothing twice is gone.
const PING_INTERVAL: Duration = Duration::from_secs(25);

/// Messages that wait for a slow client; then its subscriptions wait, and are told what they missed.
const QUEUE: usize = 16;

/// What a socket is served with.
pub(crate) struct SocketService {
    pub(crate) schema: Schema,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) metrics: Metrics,
    pub(crate) token: Option<Secret>,
}

/// A protocol of operations over a socket.
#[derive(Clone, Copy)]
pub(crate) struct Protocol(WebSocketProtocols);

impl Protocol {
    /// The first of those offered that is known.
    pub(crate) fn best_of(offered: &str) -> Option<Self> {
        let mut offered = offered.split(',').map(str::trim);
        offered.find_map(|name| name.parse().ok()).map(Self)
    }

    pub(crate) fn name(self) -> &'static str {
        self.0.sec_websocket_protocol()
    }
}

/// Serves one socket until it ends. `authorization` is that of the upgrade; browsers send none and
/// put it into the payload of connection_init.
pub(crate) async fn serve(
    service: Arc<SocketService>,
    socket: WebSocket,
    protocol: Protocol,
    caller: Caller,
) {
    let executor = Bounded {
        service: Arc::clone(&service),
        operations: Arc::new(Semaphore::new(OPERATIONS)),
    };
    let open = service.metrics.sockets().clone();
    open.inc();
    // The library would hang up on a client that says nothing, and asks none: so we ask.
    let (sink, stream) = socket.split();
    let (queue, queued) = mpsc::channel(QUEUE);
    let heard = Arc::new(AtomicBool::new(true));
    let hears = Arc::clone(&heard);
    let stream = stream.inspect(move |_| hears.store(true, Ordering::Relaxed));
    let operations =
        GraphQLWebSocket::new_with_pair(PollSender::new(queue), stream, executor, protocol.0)
            .on_connection_init(move |payload| async move { greet(&service, caller, &payload) })
            .serve();
    let sent = send(queued, sink, &heard);
    // Messages of the end are sent after the operations have ended, unless the client is gone.
    tokio::select! {
        biased;
        () = sent => {}
        () = async { operations.await; std::future::pending().await } => {}
    }
    open.dec();
}

/// Sends what is queued, and asks in between whether the client is still there.
async fn send(
    mut queued: mpsc::Receiver<Message>,
    mut sink: SplitSink<WebSocket, Message>,
    heard: &AtomicBool,
) {
    let mut pings = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
    loop {
        let message = tokio::select! {
            biased;
            message = queued.recv() => match message {
                Some(message) => message,
                None => {
                    _ = sink.close().await;
                    return;
                }
            },
            _ = pings.tick() => match heard.swap(false, Ordering::Relaxed) {
                true => Message::ping(Vec::new()),
                false => return,
            },
        };
        // A client that takes nothing is gone, too.
        match timeout(PING_INTERVAL * 2, sink.send(message)).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
}

/// Checks the token, if one is asked for, and begins a session.
fn greet(
    service: &SocketService,
    mut caller: Caller,
    payload: &Value,
) -> async_graphql::Result<Data> {
    let given = ["Authorization", "authorization"].into_iter();
    if let Some(given) = given.filter_map(|name| payload[name].as_str()).next() {
        caller.authorization = Some(given.to_owned());
    }
    if !admits(service.token.as_ref(), caller.authorization.as_deref()) {
        return Err(async_graphql::Error::new(
            "the bearer token is missing or wrong",
        ));
    }
    Ok(Session::new(caller, &service.upstream).data())
}

/// Whether an `Authorization` carries the token, if there is one.
pub(crate) fn admits(token: Option<&Secret>, authorization: Option<&str>) -> bool {
    token.is_none_or(|token| carries_token(authorization.map(str::as_bytes), token))
}

/// The schema, for one socket's operations.
#[derive(Clone)]
struct Bounded {
    service: Arc<SocketService>,
    operations: Arc<Semaphore>,
}

impl Executor for Bounded {
    async fn execute(&self, request: Request) -> Response {
        self.service.schema.execute(request).await
    }

    fn execute_stream(
        &self,
        request: Request,
        session_data: Option<Arc<Data>>,
    ) -> BoxStream<'static, Response> {
        let Ok(permit) = Arc::clone(&self.operations).try_acquire_owned() else {
            let message = format!("a socket may have {OPERATIONS} operations under way");
            let error = coded("TOO_MANY_OPERATIONS", message);
            return stream::iter([Response::from_errors(vec![error])]).boxed();
        };
        let metrics = self.service.metrics.clone();
        let session_data = session_data.unwrap_or_default();
        let responses = self
            .service
            .schema
            .execute_stream_with_session_data(request, session_data);
        responses
            .map(move |mut response| {
                // Held as long as the operation lasts.
                let _permit = &permit;
                for error in &mut response.errors {
                    if super::error::code_of(error).is_none() {
                        *error = with_code(error.clone(), "BAD_USER_INPUT");
                    }
                }
                count(&response, "subscription", &metrics);
                response
            })
            .boxed()
    }
}
