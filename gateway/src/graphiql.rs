//! GraphiQL, a page for trying operations out. Everything it needs is compiled in: it works without
//! any other server, and asks none.

use service::http::Asset;

use crate::http::{HeaderMap, Reply, StatusCode, header};

/// The page itself.
const PAGE: Asset = asset(
    "index.html",
    "text/html; charset=utf-8",
    include_bytes!("../assets/page/index.html"),
);

/// Names of others' have their version, so that browsers can keep them.
const FILES: [Asset; 6] = [
    asset(
        "start.js",
        SCRIPT,
        include_bytes!("../assets/page/start.js"),
    ),
    asset("page.css", STYLE, include_bytes!("../assets/page/page.css")),
    asset(
        "graphiql-3.9.0.js",
        SCRIPT,
        include_bytes!("../assets/graphiql/graphiql.min.js"),
    ),
    asset(
        "graphiql-3.9.0.css",
        STYLE,
        include_bytes!("../assets/graphiql/graphiql.min.css"),
    ),
    asset(
        "react-18.3.1.js",
        SCRIPT,
        include_bytes!("../assets/react/react.production.min.js"),
    ),
    asset(
        "react-dom-18.3.1.js",
        SCRIPT,
        include_bytes!("../assets/react-dom/react-dom.production.min.js"),
    ),
];

const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const fn asset(name: &'static str, media_type: &'static str, bytes: &'static [u8]) -> Asset {
    Asset {
        name,
        media_type,
        bytes,
    }
}

/// No script but ours, no other host. GraphiQL sets styles from its scripts.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; font-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) fn page() -> Reply {
    Reply::of_type(StatusCode::OK, PAGE.media_type, PAGE.bytes.to_vec())
        .with(header::CONTENT_SECURITY_POLICY, POLICY)
        .with(header::VARY, "accept, accept-encoding")
        .with(header::CACHE_CONTROL, "no-cache")
}

/// A file of the page. Another version has another tag.
pub(crate) fn file(name: &str, headers: &HeaderMap) -> Reply {
    let Some(asset) = FILES.iter().find(|asset| asset.name == name) else {
        return Reply::error(StatusCode::NOT_FOUND, "NOT_FOUND", "no such file");
    };
    // Weak: it is the same compressed or not.
    let etag = format!("W/\"{}\"", asset.etag());
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|it| it.to_str().ok());
    let known = known.is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == etag));
    let reply = match known {
        true => Reply::empty(StatusCode::NOT_MODIFIED),
        false => Reply::of_type(StatusCode::OK, asset.media_type, asset.bytes.to_vec()),
    };
    reply
        .with_text(header::ETAG, &etag)
        .with(header::CACHE_CONTROL, "no-cache")
}
