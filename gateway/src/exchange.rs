//! One request and its reply: what it asks for, who may, and what all replies have in common.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::{Encoder, Registry, TextEncoder};
use service::http::{accepts_gzip, gzipped, request_id};
use service::{Health, Monitor, Secret, chain};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument;

use crate::config::Config;
use crate::graphiql;
use crate::health;
use crate::http::{
    Accepted, HeaderMap, HeaderName, HeaderValue, Method, Reply, Request, StatusCode, WebSocket,
    header, minimum, wants_page,
};
use crate::metrics::Metrics;
use crate::schema::{Operations, Protocol, Schema, Session, SocketService, admits, serve_socket};
use crate::upstream::{Caller, Upstream};

/// What requests are answered with.
pub(crate) struct Exchange {
    sockets: Arc<SocketService>,
    /// How many sockets may still be opened.
    room: Arc<Semaphore>,
    origins: Vec<String>,
    graphiql: bool,
    batch_limit: usize,
    body_limit: usize,
    time_limit: Duration,
    registry: Registry,
    health: Health,
}

/// Sockets at once; each holds some tens of kilobytes.
const SOCKETS: usize = 1_000;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const POSITION: HeaderName = HeaderName::from_static("lockstep-position");

/// What a path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route<'a> {
    Graphql,
    Asset(&'a str),
    Health,
    Live,
    Ready,
    Metrics,
}

impl<'a> Route<'a> {
    fn find(path: &'a str) -> Option<Self> {
        match path {
            "/graphql" => Some(Self::Graphql),
            "/health" => Some(Self::Health),
            "/health/live" | "/healthz" => Some(Self::Live),
            "/health/ready" | "/readyz" => Some(Self::Ready),
            "/metrics" => Some(Self::Metrics),
            _ => path.strip_prefix("/graphql/assets/").map(Self::Asset),
        }
    }

    fn template(self) -> &'static str {
        match self {
            Self::Graphql => "/graphql",
            Self::Asset(_) => "/graphql/assets/{name}",
            Self::Health => "/health",
            Self::Live => "/health/live",
            Self::Ready => "/health/ready",
            Self::Metrics => "/metrics",
        }
    }

    fn allow(self) -> &'static str {
        match self {
            Self::Graphql => "GET, HEAD, OPTIONS, POST",
            _ => "GET, HEAD, OPTIONS",
        }
    }
}

impl Exchange {
    pub(crate) fn new(
        config: &Config,
        monitor: Monitor,
        metrics: Metrics,
        schema: Schema,
        upstream: Arc<Upstream>,
    ) -> Self {
        Self {
            sockets: Arc::new(SocketService {
                schema,
                upstream,
                metrics,
                token: config.gateway_token.clone(),
            }),
            room: Arc::new(Semaphore::new(SOCKETS)),
            origins: config.gateway_origin.clone(),
            graphiql: !config.gateway_no_graphiql,
            batch_limit: config.limits.gateway_batch,
            body_limit: config.limits.gateway_body_bytes,
            time_limit: config.gateway_timeout_seconds,
            registry: monitor.metrics,
            health: monitor.health,
        }
    }

    pub(crate) fn body_limit(&self) -> usize {
        self.body_limit
    }

    fn metrics(&self) -> &Metrics {
        &self.sockets.metrics
    }

    fn token(&self) -> Option<&Secret> {
        self.sockets.token.as_ref()
    }

    pub(crate) async fn answer(&self, request: Request) -> Reply {
        let start = Instant::now();
        let id = request_id(&request.headers);
        let span = tracing::info_span!("request", %id);
        let (method, headers) = (request.method.clone(), request.headers.clone());
        let path = request.path.clone();
        let route = Route::find(&path);
        let reply = self.dispatch(route, request, &id).instrument(span).await;
        let template = route.map_or("unknown", Route::template);
        self.metrics()
            .answered(template, &method, reply.status.as_u16(), start.elapsed());
        finished(reply, &headers, &id).await
    }

    async fn dispatch(&self, route: Option<Route<'_>>, request: Request, id: &str) -> Reply {
        let Some(route) = route else {
            let message = "there is nothing here; operations go to /graphql";
            return Reply::error(StatusCode::NOT_FOUND, "NOT_FOUND", message);
        };
        let method = match request.method.clone() {
            Method::HEAD => Method::GET,
            method => method,
        };
        if method == Method::OPTIONS {
            return Reply::empty(StatusCode::NO_CONTENT).with(header::ALLOW, route.allow());
        }
        if !route.allow().split(", ").any(|it| it == method.as_str()) {
            return not_allowed(route.allow(), &format!("allowed are {}", route.allow()));
        }
        let upstream = &self.sockets.upstream;
        match route {
            Route::Graphql if method == Method::GET && self.is_page(&request) => graphiql::page(),
            Route::Graphql => self.operate(request, &method, id).await,
            Route::Asset(name) if self.graphiql => graphiql::file(name, &request.headers),
            Route::Asset(_) => Reply::error(StatusCode::NOT_FOUND, "NOT_FOUND", "no such file"),
            Route::Health => health::report(upstream, &self.health, id).await,
            Route::Live => health::live(),
            Route::Ready => health::ready(upstream, id).await,
            Route::Metrics => self.metrics_page(),
        }
    }

    fn is_page(&self, request: &Request) -> bool {
        self.graphiql && request.query.is_empty() && wants_page(&request.headers)
    }

    /// Runs the operations of a request.
    async fn operate(&self, mut request: Request, method: &Method, id: &str) -> Reply {
        let Some(accepted) = Accepted::of(&request.headers) else {
            let message = "answers are application/graphql-response+json or application/json";
            return Reply::error(StatusCode::NOT_ACCEPTABLE, "NOT_ACCEPTABLE", message);
        };
        let caller = match caller(&request.headers, id) {
            Ok(caller) => caller,
            Err(message) => return bad_request(message),
        };
        if !admits(self.token(), caller.authorization.as_deref()) {
            let message = "the bearer token is missing or wrong";
            return Reply::error(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", message)
                .with(header::WWW_AUTHENTICATE, "Bearer");
        }
        let read = match *method == Method::GET {
            true => Operations::of_query(&request.query).map_err(|it| bad_request(&it.to_string())),
            false => self.read(&mut request).await,
        };
        let mut operations = match read {
            Ok(operations) => operations,
            Err(reply) => return reply,
        };
        // A page of another site can have a browser send a GET, but not JSON by POST.
        if *method == Method::GET && !operations.only_read() {
            return not_allowed("POST", "mutations and subscriptions are not for GET");
        }
        let session = Session::new(caller, &self.sockets.upstream);
        let schema = &self.sockets.schema;
        let outcome = operations
            .run(schema, &session, self.metrics(), self.time_limit)
            .await;
        let status = match outcome.refused && accepted == Accepted::GraphqlResponse {
            true => StatusCode::BAD_REQUEST,
            false => StatusCode::OK,
        };
        let reply = Reply::of_type(status, accepted.media_type(), outcome.body);
        written(reply, session.caller())
    }

    /// The operations of a body. Only JSON: what a form of another site could send is refused.
    async fn read(&self, request: &mut Request) -> Result<Operations, Reply> {
        if !is_json(&request.headers) {
            let message =
                "the Content-Type is not application/json in UTF-8, without Content-Encoding";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Reply::error(status, "UNSUPPORTED_MEDIA_TYPE", message));
        }
        let read = Request::read(&mut request.body, self.body_limit);
        let body = match tokio::time::timeout(self.time_limit / 2, read).await {
            Ok(Ok(body)) => body,
            Ok(Err(StatusCode::PAYLOAD_TOO_LARGE)) => {
                let message = format!("a request may have {} bytes", self.body_limit);
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                return Err(Reply::error(status, "PAYLOAD_TOO_LARGE", &message));
            }
            Ok(Err(_)) => return Err(bad_request("the body ended early")),
            Err(_) => {
                let message = "the body did not arrive in time";
                let status = StatusCode::REQUEST_TIMEOUT;
                return Err(Reply::error(status, "REQUEST_TIMEOUT", message));
            }
        };
        Operations::of_body(&body, self.batch_limit).map_err(|it| bad_request(&it.to_string()))
    }

    /// Whether a socket may be opened, and how it is served.
    pub(crate) fn socket(&self, headers: &HeaderMap) -> Result<Socket, Reply> {
        let text = |name: HeaderName| headers.get(name)?.to_str().ok();
        let origin = text(header::ORIGIN);
        // A browser sends cookies with the upgrade from whatever page asked for it.
        if let Some(origin) = origin.filter(|it| !self.trusts(it, text(header::HOST))) {
            let message = format!("pages of {origin} may not open sockets here (--gateway-origin)");
            return Err(Reply::error(StatusCode::FORBIDDEN, "FORBIDDEN", &message));
        }
        let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL);
        let offered = offered.and_then(|value| value.to_str().ok());
        let Some(protocol) = offered.and_then(Protocol::best_of) else {
            let message = "offer the protocol graphql-transport-ws";
            return Err(bad_request(message));
        };
        let caller = caller(headers, &request_id(headers)).map_err(bad_request)?;
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            let message = "all places for sockets are taken";
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return Err(Reply::error(status, "UNAVAILABLE", message).with(header::RETRY_AFTER, "1"));
        };
        Ok(Socket {
            service: Arc::clone(&self.sockets),
            protocol,
            caller,
            place,
        })
    }

    fn trusts(&self, origin: &str, host: Option<&str>) -> bool {
        let own = origin
            .split_once("://")
            .is_some_and(|(_, authority)| host == Some(authority));
        own || self.origins.iter().any(|known| known == origin)
    }

    fn metrics_page(&self) -> Reply {
        let mut page = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut page) {
            Ok(()) => Reply::of_type(StatusCode::OK, prometheus::TEXT_FORMAT, page),
            Err(error) => {
                tracing::error!(error = %chain(&error), "encode metrics");
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Reply::error(status, "INTERNAL", "the metrics cannot be encoded")
            }
        }
    }
}

/// A socket that was admitted.
pub(crate) struct Socket {
    service: Arc<SocketService>,
    protocol: Protocol,
    caller: Caller,
    place: OwnedSemaphorePermit,
}

impl Socket {
    pub(crate) fn protocol(&self) -> &'static str {
        self.protocol.name()
    }

    pub(crate) async fn serve(self, socket: WebSocket) {
        let _place = self.place;
        serve_socket(self.service, socket, self.protocol, self.caller).await;
    }
}

fn caller(headers: &HeaderMap, id: &str) -> Result<Caller, &'static str> {
    let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    let mut caller = Caller::new(id);
    caller.traceparent = text("traceparent");
    caller.authorization = text("authorization");
    Ok(caller.asking_for(minimum(headers)?))
}

fn is_json(headers: &HeaderMap) -> bool {
    let text = headers.get(header::CONTENT_TYPE);
    let text = text
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let mut parts = text.split(';').map(str::trim);
    let named = parts
        .next()
        .is_some_and(|it| it.eq_ignore_ascii_case("application/json"));
    let utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    named && utf8 && !headers.contains_key(header::CONTENT_ENCODING)
}

/// Tells where the writes stand, to programs and to browsers.
fn written(reply: Reply, caller: &Caller) -> Reply {
    let Some(position) = caller.written() else {
        return reply;
    };
    let cookie =
        format!("lockstep-position={position}; Path=/; Max-Age=60; HttpOnly; SameSite=Lax");
    reply
        .with_text(POSITION, &position.to_string())
        .with_text(header::SET_COOKIE, &cookie)
}

fn bad_request(message: &str) -> Reply {
    Reply::error(StatusCode::BAD_REQUEST, "BAD_REQUEST", message)
}

fn not_allowed(allow: &'static str, message: &str) -> Reply {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Reply::error(status, "METHOD_NOT_ALLOWED", message).with(header::ALLOW, allow)
}

/// A body from which on compressing is worth it.
const COMPRESSED_BYTES: usize = 1024;

async fn finished(mut reply: Reply, headers: &HeaderMap, id: &str) -> Reply {
    reply = reply
        .with_text(REQUEST_ID, id)
        .with(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    let unkept = HeaderValue::from_static("no-store");
    reply.headers.entry(header::CACHE_CONTROL).or_insert(unkept);
    if reply.body.len() >= COMPRESSED_BYTES {
        reply = reply.with(header::VARY, "accept, accept-encoding");
        if accepts_gzip(headers) {
            reply.body = gzipped(std::mem::take(&mut reply.body)).await;
            reply = reply.with(header::CONTENT_ENCODING, "gzip");
        }
    }
    reply
}
