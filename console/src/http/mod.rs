//! Requests in, replies out.

mod request;
pub(crate) use request::{Body, Pairs, Request, path_segment, segments};

mod reply;
pub(crate) use reply::{Content, Events, Reply};

pub(crate) use warp::http::header;
pub(crate) use warp::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
