//! The GraphQL schema, and how its fields are resolved.

mod scalar;

mod article;
mod input;
mod page;

mod error;

mod limits;

mod session;
pub(crate) use session::Session;

mod operations;
pub(crate) use operations::Operations;

mod socket;
pub(crate) use socket::{Protocol, SocketService, admits, serve as serve_socket};

mod query;
use query::Query;

mod mutation;
use mutation::Mutation;

mod replication;

mod subscription;
use subscription::Subscriptions;

use std::sync::Arc;

use crate::changes::Changes;
use crate::config::Config;
use crate::replication::Replication;
use crate::upstream::Upstream;
use limits::Guard;

/// The schema with all that its fields need.
pub(crate) type Schema = async_graphql::Schema<Query, Mutation, Subscriptions>;

/// What fields are resolved with.
pub(crate) struct Parts {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) replication: Arc<Replication>,
    /// None where no Kafka is named.
    pub(crate) changes: Option<Changes>,
}

pub(crate) fn build(config: &Config, parts: Parts) -> Schema {
    let mut schema = Schema::build(Query, Mutation, Subscriptions)
        .data(parts.upstream)
        .data(parts.replication)
        .limit_depth(config.limits.gateway_depth)
        .limit_complexity(config.limits.gateway_complexity)
        .extension(Guard(config.limits));
    if let Some(changes) = parts.changes {
        schema = schema.data(changes);
    }
    if config.gateway_no_introspection {
        schema = schema.disable_introspection().disable_suggestions();
    }
    schema.finish()
}

/// The schema as clients see it, in GraphQL's definition language.
pub fn sdl() -> String {
    Schema::build(Query, Mutation, Subscriptions).finish().sdl()
}
