//! What a path means, and who answers it.

use crate::articles::{self, ArticleId};
use crate::docs;
use crate::exchange::Exchange;
use crate::health;
use crate::http::{HeaderValue, Kind, Method, Problem, Query, Reply, Request, StatusCode, header};
use crate::openapi;

/// A resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Articles,
    Search,
    Article(ArticleId),
    Publish(ArticleId),
    Archive(ArticleId),
    Position,
    Health,
    Live,
    Ready,
    Metrics,
    Problem(Kind),
    OpenApi,
    Docs(docs::File),
}

impl Route {
    /// A path with a slash at its end is another path, which does not exist.
    pub(crate) fn find(path: &str) -> Option<Self> {
        if let Some(slug) = path.strip_prefix("/problems/") {
            let kind = Kind::ALL.into_iter().find(|kind| kind.slug() == slug)?;
            return Some(Self::Problem(kind));
        }
        match path {
            "/metrics" => return Some(Self::Metrics),
            "/healthz" => return Some(Self::Live),
            "/readyz" => return Some(Self::Health),
            openapi::PATH => return Some(Self::OpenApi),
            _ => {}
        }
        if let Some(file) = docs::find(path) {
            return Some(Self::Docs(file));
        }
        let mut segments = path.strip_prefix("/api/v1/")?.split('/');
        let route = (segments.next()?, segments.next(), segments.next());
        if segments.next().is_some() {
            return None;
        }
        match route {
            ("articles", None, None) => Some(Self::Articles),
            ("articles", Some("search"), None) => Some(Self::Search),
            ("articles", Some(id), None) => id.parse().ok().map(Self::Article),
            ("articles", Some(id), Some("publish")) => id.parse().ok().map(Self::Publish),
            ("articles", Some(id), Some("archive")) => id.parse().ok().map(Self::Archive),
            ("position", None, None) => Some(Self::Position),
            ("health", None, None) => Some(Self::Health),
            ("health", Some("live"), None) => Some(Self::Live),
            ("health", Some("ready"), None) => Some(Self::Ready),
            _ => None,
        }
    }

    /// The path for metrics, in which ids do not show.
    pub(crate) fn template(self) -> &'static str {
        match self {
            Self::Articles => "/api/v1/articles",
            Self::Search => "/api/v1/articles/search",
            Self::Article(_) => "/api/v1/articles/{id}",
            Self::Publish(_) => "/api/v1/articles/{id}/publish",
            Self::Archive(_) => "/api/v1/articles/{id}/archive",
            Self::Position => "/api/v1/position",
            Self::Health => "/api/v1/health",
            Self::Live => "/api/v1/health/live",
            Self::Ready => "/api/v1/health/ready",
            Self::Metrics => "/metrics",
            Self::Problem(_) => "/problems/{kind}",
            Self::OpenApi => openapi::PATH,
            Self::Docs(file) => file.template(),
        }
    }

    /// The methods, for `Allow`. A replica takes no writes.
    pub(crate) fn allow(self, takes_writes: bool) -> &'static str {
        match (self, takes_writes) {
            (Self::Articles, true) => "GET, HEAD, OPTIONS, POST",
            (Self::Article(_), true) => "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
            (Self::Publish(_) | Self::Archive(_), true) => "OPTIONS, POST",
            (Self::Publish(_) | Self::Archive(_), false) => "OPTIONS",
            _ => "GET, HEAD, OPTIONS",
        }
    }

    /// Whether a GET shows articles, which a replica may not have yet.
    fn shows_articles(self) -> bool {
        matches!(self, Self::Articles | Self::Search | Self::Article(_))
    }
}

/// Answers a request for a resource.
pub(crate) async fn dispatch(
    exchange: &Exchange,
    route: Route,
    request: Request,
) -> Result<Reply, Problem> {
    // HEAD is GET whose body is not sent. It differs in one thing: it counts no view.
    let method = match &request.method {
        method if *method == Method::HEAD => Method::GET,
        method => method.clone(),
    };
    let allow = route.allow(exchange.role.takes_writes());
    if method == Method::OPTIONS {
        let allow = HeaderValue::from_static(allow);
        return Ok(Reply::empty(StatusCode::NO_CONTENT).with(header::ALLOW, allow));
    }
    if !allow.split(", ").any(|allowed| allowed == method.as_str()) {
        let detail = match exchange.role.takes_writes() {
            true => format!("allowed are {allow}"),
            false => format!("allowed are {allow}: this is a replica, write to the primary"),
        };
        let allow = HeaderValue::from_static(allow);
        return Err(Problem::new(Kind::MethodNotAllowed, detail).with(header::ALLOW, allow));
    }
    if method != Method::GET {
        exchange.authorize(&request.headers)?;
    }
    if !matches!(route, Route::Articles | Route::Search) || method != Method::GET {
        // Lists and searches alone have parameters.
        Query::parse(&request.query).end()?;
    }
    let position = match route.shows_articles() && method == Method::GET {
        true => exchange.role.reach(&request.headers).await?,
        false => None,
    };
    let reply = handle(exchange, route, &method, request).await?;
    Ok(match position {
        Some(position) => reply.at(position),
        None => reply,
    })
}

async fn handle(
    exchange: &Exchange,
    route: Route,
    method: &Method,
    request: Request,
) -> Result<Reply, Problem> {
    match (route, method.as_str()) {
        (Route::Articles, "POST") => articles::create(exchange, request).await,
        (Route::Articles, _) => articles::list(exchange, request).await,
        (Route::Search, _) => articles::search(exchange, request).await,
        (Route::Article(id), "PUT") => articles::replace(exchange, id, request).await,
        (Route::Article(id), "PATCH") => articles::patch(exchange, id, request).await,
        (Route::Article(id), "DELETE") => articles::delete(exchange, id, request).await,
        (Route::Article(id), _) => articles::read(exchange, id, request).await,
        (Route::Publish(id), _) => articles::publish(exchange, id, request).await,
        (Route::Archive(id), _) => articles::archive(exchange, id, request).await,
        (Route::Position, _) => health::position(exchange).await,
        (Route::Health, _) => Ok(health::report(exchange).await),
        (Route::Live, _) => Ok(health::live()),
        (Route::Ready, _) => Ok(health::ready(exchange).await),
        (Route::Metrics, _) => exchange.metrics_page().await,
        (Route::Problem(kind), _) => Ok(kind.page()),
        (Route::OpenApi, _) => exchange.openapi.answer(&request.headers),
        (Route::Docs(file), _) => file.answer(&request.headers),
    }
}

#[cfg(test)]
impl Route {
    /// One of each. A new variant asks for its place in the list.
    pub(crate) fn examples() -> Vec<Self> {
        let id = ArticleId::new(17);
        let all = ["/docs", "/docs/viewer.js"].map(|path| docs::find(path).map(Self::Docs));
        let mut routes: Vec<Self> = all.into_iter().flatten().collect();
        routes.extend([
            Self::Articles,
            Self::Search,
            Self::Article(id),
            Self::Publish(id),
            Self::Archive(id),
            Self::Position,
            Self::Health,
            Self::Live,
            Self::Ready,
            Self::Metrics,
            Self::Problem(Kind::Conflict),
            Self::OpenApi,
        ]);
        let listed = |route: &Self| match route {
            Self::Articles
            | Self::Search
            | Self::Article(_)
            | Self::Publish(_)
            | Self::Archive(_)
            | Self::Position
            | Self::Health
            | Self::Live
            | Self::Ready
            | Self::Metrics
            | Self::Problem(_)
            | Self::OpenApi
            | Self::Docs(_) => true,
        };
        routes.retain(listed);
        routes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_exactly() {
        let id: ArticleId = "17".parse().unwrap();
        for (path, expected) in [
            ("/api/v1/articles", Some(Route::Articles)),
            ("/api/v1/articles/search", Some(Route::Search)),
            ("/api/v1/articles/17", Some(Route::Article(id))),
            ("/api/v1/articles/17/publish", Some(Route::Publish(id))),
            ("/api/v1/articles/17/archive", Some(Route::Archive(id))),
            ("/api/v1/position", Some(Route::Position)),
            ("/api/v1/health", Some(Route::Health)),
            ("/api/v1/health/live", Some(Route::Live)),
            ("/metrics", Some(Route::Metrics)),
            ("/healthz", Some(Route::Live)),
            ("/readyz", Some(Route::Health)),
            ("/problems/conflict", Some(Route::Problem(Kind::Conflict))),
            ("/api/v1/articles/", None),
            ("/api/v1/articles/0", None),
            ("/api/v1/articles/-1", None),
            ("/api/v1/articles/+1", None),
            ("/api/v1/articles/abc", None),
            ("/api/v1/articles/9223372036854775808", None),
            ("/api/v1/articles/17/publish/", None),
            ("/api/v1/articles/17/else", None),
            ("/docs", docs::find("/docs").map(Route::Docs)),
            ("/api/v1/openapi.json", Some(Route::OpenApi)),
            ("/problems/else", None),
            ("/docs/", None),
            ("/docs/index.html", None),
            ("/docs/else", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(Route::find(path), expected, "{path}");
        }
    }

    #[test]
    fn every_problem_has_its_own_page() {
        for kind in Kind::ALL {
            let path = format!("/problems/{}", kind.slug());
            assert_eq!(Route::find(&path), Some(Route::Problem(kind)));
        }
    }
}
