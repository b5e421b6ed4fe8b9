//! One request and its reply: whether it is let in, what it asks for, and what all replies have in
//! common.

use std::sync::Arc;
use std::time::Instant;

use prometheus::{Encoder, Registry, TextEncoder};
use service::http::{RequestMetrics, accepts_gzip, cookie, gzipped, request_id};
use service::{Health, Monitor, Shutdown, chain};
use tokio::sync::Semaphore;
use tracing::Instrument;

use crate::actions;
use crate::api;
use crate::assets::Assets;
use crate::config::Config;
use crate::console::Console;
use crate::events;
use crate::frame::{Frame, Page};
use crate::gate::{self, Refused};
use crate::http::{
    Body, Content, HeaderMap, HeaderName, Method, Pairs, Reply, Request, StatusCode,
};
use crate::http::{header, segments};
use crate::pages::{self, Visit};
use crate::sessions::{Caller, SignInError};

pub(crate) struct Exchange {
    console: Arc<Console>,
    assets: Assets,
    hosts: Vec<String>,
    secure_cookies: bool,
    /// Places for streams of events.
    streams: Arc<Semaphore>,
    requests: RequestMetrics,
    metrics: Registry,
    health: Health,
    stop: Shutdown,
}

/// Streams of events at once; each is a connection that stays.
const STREAMS: usize = 200;

const COOKIE: &str = "lockstep-session";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Everything from here, nothing inline, and in nobody's frame.
const POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; \
                      frame-ancestors 'none'";

impl Exchange {
    pub(crate) fn new(
        config: &Config,
        console: Arc<Console>,
        monitor: Monitor,
        requests: RequestMetrics,
        stop: Shutdown,
    ) -> Self {
        Self {
            console,
            assets: Assets::new(),
            hosts: config.console_host.clone(),
            secure_cookies: config.cookies_need_tls(),
            streams: Arc::new(Semaphore::new(STREAMS)),
            requests,
            metrics: monitor.metrics,
            health: monitor.health,
            stop,
        }
    }

    pub(crate) async fn answer(&self, request: Request, body: Body) -> Reply {
        let id = request_id(&request.headers);
        let span = tracing::info_span!("request", %id);
        let (started, method) = (Instant::now(), request.method.clone());
        let (headers, path) = (request.headers.clone(), request.path.clone());
        let reply = self.dispatch(request, body).instrument(span).await;
        let status = reply.status.as_u16();
        self.requests
            .answered(route(&path), &method, status, started.elapsed());
        finished(reply, &headers, &id).await
    }

    async fn dispatch(&self, mut request: Request, body: Body) -> Reply {
        if request.method == Method::HEAD {
            request.method = Method::GET;
        }
        let Some(path) = segments(&request.path) else {
            return Reply::problem(StatusCode::BAD_REQUEST, "the path is not UTF-8");
        };
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let is_get = request.method == Method::GET;
        // Programs that watch ask by whatever name; what they are told is no secret.
        match path.as_slice() {
            ["healthz"] if is_get => return self.health_page(StatusCode::OK),
            ["readyz"] if is_get => return self.ready_page(),
            ["metrics"] if is_get => return self.metrics_page(),
            _ => {}
        }
        if let Err(refused) = gate::require_host(&request.headers, &self.hosts) {
            return turned_away(refused);
        }
        match request.method {
            Method::GET => self.get(&path, &request).await,
            Method::POST => match gate::require_own_page(&request.headers) {
                Ok(()) => self.post(&path, &request, body).await,
                Err(refused) => turned_away(refused),
            },
            _ => Reply::problem(
                StatusCode::METHOD_NOT_ALLOWED,
                "GET, HEAD and POST are answered",
            )
            .with(header::ALLOW, "GET, HEAD, POST"),
        }
    }

    async fn get(&self, path: &[&str], request: &Request) -> Reply {
        if let ["assets", version, name] = path {
            return self.assets.file(version, name);
        }
        let query = Pairs::of_query(&request.query);
        if let ["sign-in"] = path {
            return self.sign_in_page(StatusCode::OK, query.one("next"), None);
        }
        let caller = match self.caller(&request.headers).await {
            Ok(caller) => caller,
            Err(refused) => return self.unknown_caller(path, request, refused),
        };
        let visit = Visit {
            console: &self.console,
            caller: &caller,
            query: &query,
        };
        match path {
            ["api", "v1", "events"] => self.events(request),
            ["api", "v1", rest @ ..] => api::get(&visit, rest).await,
            _ => {
                let page = pages::find(&visit, path).await;
                let page = page.unwrap_or_else(pages::absent);
                self.page(Some(&caller), page)
            }
        }
    }

    async fn post(&self, path: &[&str], request: &Request, body: Body) -> Reply {
        let fields = match request.fields(body).await {
            Ok(fields) => fields,
            Err(status) => return Reply::problem(status, "the body is no form and no JSON object"),
        };
        if let ["sign-in"] = path {
            return self.sign_in(&fields).await;
        }
        let caller = match self.caller(&request.headers).await {
            Ok(caller) => caller,
            Err(refused) => return self.unknown_caller(path, request, refused),
        };
        // A browser sends a password by itself only where it was asked to by us, which it never is.
        let by_password = request.headers.contains_key(header::AUTHORIZATION);
        let given = request.header("x-csrf-token").or(fields.one("csrf"));
        if !by_password && given != Some(caller.csrf.as_str()) {
            let detail = "the form's token is missing or old: load the page again";
            return Reply::problem(StatusCode::FORBIDDEN, detail);
        }
        let key = request.header("idempotency-key").or(fields.one("key"));
        match path {
            ["sign-out"] => self.sign_out(&request.headers),
            ["actions", name] => {
                let answer = actions::run(&self.console, &caller, name, &fields, key).await;
                self.page(Some(&caller), pages::answered(answer))
            }
            ["api", "v1", "actions", name] => {
                let answer = actions::run(&self.console, &caller, name, &fields, key).await;
                api::answered(answer)
            }
            _ => Reply::problem(StatusCode::NOT_FOUND, "there is nothing to post to here"),
        }
    }

    /// By the cookie of a session, or by name and password as a program gives them.
    async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Option<SignInError>> {
        let sessions = &self.console.sessions;
        if let Some((name, password)) = gate::basic_credentials(headers)
            && sessions.asks()
        {
            return sessions.recognize(&name, &password).await.map_err(Some);
        }
        sessions.caller(cookie(headers, COOKIE)).ok_or(None)
    }

    fn unknown_caller(
        &self,
        path: &[&str],
        request: &Request,
        refused: Option<SignInError>,
    ) -> Reply {
        let is_page = path.first() != Some(&"api") && request.method == Method::GET;
        match refused {
            None if is_page => {
                let here = match request.query.is_empty() {
                    true => request.path.clone(),
                    false => format!("{}?{}", request.path, request.query),
                };
                let next = [("next", here)];
                let query = serde_urlencoded::to_string(next).expect("a pair of texts");
                Reply::see_other(&format!("/sign-in?{query}"))
            }
            None => Reply::problem(StatusCode::UNAUTHORIZED, "sign in first"),
            Some(error) => refusal(error),
        }
    }

    async fn sign_in(&self, fields: &Pairs) -> Reply {
        let name = fields.one("name").unwrap_or_default();
        let password = fields.one("password").unwrap_or_default();
        match self.console.sessions.sign_in(name, password).await {
            Ok(token) => {
                tracing::info!(user = name, "signed in");
                let secure = if self.secure_cookies { "; Secure" } else { "" };
                let cookie = format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict{secure}");
                Reply::see_other(local_path(fields.one("next")))
                    .with_text(header::SET_COOKIE, &cookie)
            }
            Err(error) => {
                tracing::warn!(%error, "sign-in refused");
                let status = refusal(error).status;
                self.sign_in_page(status, fields.one("next"), Some(error))
            }
        }
    }

    fn sign_out(&self, headers: &HeaderMap) -> Reply {
        if let Some(token) = cookie(headers, COOKIE) {
            self.console.sessions.sign_out(token);
        }
        let gone = format!("{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
        Reply::see_other("/sign-in").with_text(header::SET_COOKIE, &gone)
    }

    fn sign_in_page(
        &self,
        status: StatusCode,
        next: Option<&str>,
        error: Option<SignInError>,
    ) -> Reply {
        if !self.console.sessions.asks() {
            return Reply::see_other("/");
        }
        let mut page = pages::sign_in(local_path(next), error);
        page.status = status;
        self.page(None, page)
    }

    fn page(&self, caller: Option<&Caller>, page: Page) -> Reply {
        let frame = Frame {
            assets: &self.assets,
            pipeline: &self.console.endpoints.names.pipeline,
            caller,
        };
        Reply::html(page.status, frame.around(page))
    }

    fn events(&self, request: &Request) -> Reply {
        let Ok(place) = Arc::clone(&self.streams).try_acquire_owned() else {
            let detail = "all places for streams of events are taken";
            return Reply::problem(StatusCode::SERVICE_UNAVAILABLE, detail);
        };
        let last = request
            .header("last-event-id")
            .and_then(|id| id.parse().ok());
        let stream = events::stream(Arc::clone(&self.console), last, place, self.stop.clone());
        Reply::events(stream)
    }

    fn ready_page(&self) -> Reply {
        match self.health.is_ready() {
            true => self.health_page(StatusCode::OK),
            false => self.health_page(StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    fn health_page(&self, status: StatusCode) -> Reply {
        let word = match self.health.is_ready() {
            true => "ok",
            false => "failing",
        };
        let failing = self.health.failing().into_iter();
        let failing: serde_json::Map<_, _> = failing
            .map(|(name, reason)| (name.to_owned(), reason.into()))
            .collect();
        Reply::json(
            status,
            &serde_json::json!({ "status": word, "failing": failing }),
        )
    }

    fn metrics_page(&self) -> Reply {
        let mut page = Vec::new();
        match TextEncoder::new().encode(&self.metrics.gather(), &mut page) {
            Ok(()) => Reply::of_type(StatusCode::OK, prometheus::TEXT_FORMAT, page),
            Err(error) => {
                tracing::error!(error = %chain(&error), "encode metrics");
                let detail = "the metrics cannot be encoded";
                Reply::problem(StatusCode::INTERNAL_SERVER_ERROR, detail)
            }
        }
    }
}

/// The first part of the path as a label: a client can make up any.
fn route(path: &str) -> &'static str {
    let first = path.split('/').nth(1).unwrap_or_default();
    let known = ROUTES.iter().find(|route| route[1..] == *first);
    known.copied().unwrap_or("other")
}

const ROUTES: [&str; 15] = [
    "/",
    "/activity",
    "/api",
    "/assets",
    "/dead-letters",
    "/healthz",
    "/metrics",
    "/readyz",
    "/replay",
    "/replication",
    "/schemas",
    "/sign-in",
    "/sign-out",
    "/tables",
    "/topics",
];

/// A path of this console, whatever a link said.
fn local_path(next: Option<&str>) -> &str {
    // Browsers take `//host` and `/\host` for another host.
    let local = |next: &&str| {
        next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n'])
    };
    next.filter(local).unwrap_or("/")
}

fn turned_away(refused: Refused) -> Reply {
    let status = match refused {
        Refused::Host => StatusCode::MISDIRECTED_REQUEST,
        Refused::Origin => StatusCode::FORBIDDEN,
    };
    Reply::problem(status, &refused.to_string())
}

fn refusal(error: SignInError) -> Reply {
    let status = match error {
        SignInError::Wrong => StatusCode::UNAUTHORIZED,
        SignInError::TooMany => StatusCode::TOO_MANY_REQUESTS,
    };
    Reply::problem(status, &error.to_string())
}

/// A body from which on compressing is worth it.
const COMPRESSED_BYTES: usize = 1024;

async fn finished(mut reply: Reply, headers: &HeaderMap, id: &str) -> Reply {
    reply = reply
        .with_text(REQUEST_ID, id)
        .with(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .with(header::CONTENT_SECURITY_POLICY, POLICY)
        .with(header::REFERRER_POLICY, "same-origin");
    if !reply.headers.contains_key(header::CACHE_CONTROL) {
        reply = reply.with(header::CACHE_CONTROL, "no-store");
    }
    match reply.content {
        Content::Bytes(body) if body.len() >= COMPRESSED_BYTES => {
            reply.content = Content::Bytes(Vec::new());
            reply = reply.with(header::VARY, "accept-encoding");
            if accepts_gzip(headers) {
                reply.content = Content::Bytes(gzipped(body).await);
                reply.with(header::CONTENT_ENCODING, "gzip")
            } else {
                reply.content = Content::Bytes(body);
                reply
            }
        }
        _ => reply,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_leads_nowhere_else() {
        for (next, expected) in [
            (Some("/replication?page=2"), "/replication?page=2"),
            (Some("//evil.example"), "/"),
            (Some("/\\evil.example"), "/"),
            (Some("http://evil.example"), "/"),
            (None, "/"),
        ] {
            assert_eq!(local_path(next), expected, "{next:?}");
        }
    }
}
