//! Operations over a WebSocket: the protocols graphql-transport-ws and graphql-ws.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::http::WebSocketProtocols;
use async_graphql::{Data, Executor, Request, Response};
use async_graphql_warp::GraphQLWebSocket;
use futures_util::stream::{self, BoxStream, StreamExt};
use serde_json::Value;
use service::Secret;
use tokio::sync::Semaphore;

use super::error::{coded, with_code};
use super::operations::count;
use super::{Schema, Session};
use crate::http::WebSocket;
use crate::metrics::Metrics;
use crate::upstream::{Caller, Upstream};

/// How many operations one socket may have under way.
const OPERATIONS: usize = 20;

/// A client that does not answer a ping is gone.
const KEEPALIVE: Duration = Duration::from_secs(30);

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
    GraphQLWebSocket::new(socket, executor, protocol.0)
        .keepalive_timeout(KEEPALIVE)
        .on_connection_init(move |payload| async move { greet(&service, caller, &payload) })
        .serve()
        .await;
    open.dec();
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
    let Some(token) = token else {
        return true;
    };
    let given = authorization.and_then(|header| {
        let (scheme, token) = header.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case("bearer ").then_some(token)
    });
    given.is_some_and(|given| same(given.as_bytes(), token.expose().as_bytes()))
}

/// Compares in a time that does not tell how much of a guess was right.
fn same(given: &[u8], token: &[u8]) -> bool {
    let differences = given
        .iter()
        .zip(token)
        .fold(0, |bits, (left, right)| bits | (left ^ right));
    given.len() == token.len() && differences == 0
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
