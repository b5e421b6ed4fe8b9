//! The REST APIs behind the gateway.

mod breaker;

mod caller;
pub(crate) use caller::Caller;

mod failure;
pub(crate) use failure::Failure;

mod article;
pub(crate) use article::{Article, Found, List, Page, Search, Status};

mod service;
pub use service::BuildError;
use service::Service;

mod articles;
pub(crate) use articles::Upstream;
