//! GraphQL over HTTP: what a request says, and how an answer looks (the GraphQL-over-HTTP
//! specification, draft of 2025).

mod accept;
pub(crate) use accept::{Accepted, wants_page};

mod reply;
pub(crate) use reply::Reply;

mod request;
pub(crate) use request::{Request, minimum};

pub(crate) use warp::http::header;
pub(crate) use warp::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
pub(crate) use warp::ws::{Message, WebSocket};
