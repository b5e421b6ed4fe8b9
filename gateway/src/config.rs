//! The settings of the gateway.

use std::net::SocketAddr;
use std::time::Duration;

use service::Secret;

use crate::changes::Config as ChangesConfig;

/// The settings of the gateway.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Address and port of GraphQL
    #[arg(
        long,
        env = "LOCKSTEP_GATEWAY_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:4000"
    )]
    pub gateway_listen: SocketAddr,

    /// REST API that takes writes, and reads where no replica is named
    #[arg(
        long,
        env = "LOCKSTEP_GATEWAY_REST",
        value_name = "URL",
        default_value = "http://127.0.0.1:5000"
    )]
    pub gateway_rest: String,

    /// REST API of the replica, which reads go to
    #[arg(long, env = "LOCKSTEP_GATEWAY_REPLICA", value_name = "URL")]
    pub gateway_replica: Option<String>,

    /// Fail reads that the replica cannot answer, instead of asking the primary
    #[arg(long, env = "LOCKSTEP_GATEWAY_NO_FALLBACK")]
    pub gateway_no_fallback: bool,

    /// Bearer token that every operation must carry, or file:/path; it is handed on to the REST API.
    /// Without one the client's own is handed on
    #[arg(long, env = "LOCKSTEP_GATEWAY_TOKEN", value_name = "TOKEN")]
    pub gateway_token: Option<Secret>,

    /// Listen beyond loopback although no token is asked for
    #[arg(long, env = "LOCKSTEP_GATEWAY_ALLOW_ANONYMOUS")]
    pub gateway_allow_anonymous: bool,

    /// An origin other than the gateway's own whose pages may open WebSockets; repeatable
    #[arg(
        long,
        env = "LOCKSTEP_GATEWAY_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub gateway_origin: Vec<String>,

    /// Seconds that an operation may take
    #[arg(long, env = "LOCKSTEP_GATEWAY_TIMEOUT_SECONDS", value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub gateway_timeout_seconds: Duration,

    /// Seconds that one call of the REST API may take
    #[arg(long, env = "LOCKSTEP_GATEWAY_UPSTREAM_SECONDS", value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub gateway_upstream_seconds: Duration,

    /// Calls of each REST API at once
    #[arg(long, env = "LOCKSTEP_GATEWAY_UPSTREAM_CALLS", value_name = "COUNT", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub gateway_upstream_calls: u16,

    /// Hide the schema from clients
    #[arg(long, env = "LOCKSTEP_GATEWAY_NO_INTROSPECTION")]
    pub gateway_no_introspection: bool,

    /// Do not serve GraphiQL
    #[arg(long, env = "LOCKSTEP_GATEWAY_NO_GRAPHIQL")]
    pub gateway_no_graphiql: bool,

    #[command(flatten)]
    pub limits: Limits,

    #[command(flatten)]
    pub changes: ChangesConfig,
}

/// What an operation may ask for. GraphiQL's introspection passes the defaults.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Limits {
    /// Levels of an operation
    #[arg(
        long,
        env = "LOCKSTEP_GATEWAY_DEPTH",
        value_name = "LEVELS",
        default_value_t = 15
    )]
    pub gateway_depth: usize,

    /// Fields of an operation, those of a page times the page's length
    #[arg(
        long,
        env = "LOCKSTEP_GATEWAY_COMPLEXITY",
        value_name = "FIELDS",
        default_value_t = 1000
    )]
    pub gateway_complexity: usize,

    /// Aliases of an operation
    #[arg(
        long,
        env = "LOCKSTEP_GATEWAY_ALIASES",
        value_name = "COUNT",
        default_value_t = 30
    )]
    pub gateway_aliases: usize,

    /// Fields at the root of an operation
    #[arg(
        long,
        env = "LOCKSTEP_GATEWAY_ROOT_FIELDS",
        value_name = "COUNT",
        default_value_t = 10
    )]
    pub gateway_root_fields: usize,

    /// Directives of an operation
    #[arg(
        long,
        env = "LOCKSTEP_GATEWAY_DIRECTIVES",
        value_name = "COUNT",
        default_value_t = 50
    )]
    pub gateway_directives: usize,

    /// Operations of a request
    #[arg(
        long,
        env = "LOCKSTEP_GATEWAY_BATCH",
        value_name = "COUNT",
        default_value_t = 5
    )]
    pub gateway_batch: usize,

    /// Bytes of a request, or of a message
    #[arg(
        long,
        env = "LOCKSTEP_GATEWAY_BODY_BYTES",
        value_name = "BYTES",
        default_value_t = 64 * 1024
    )]
    pub gateway_body_bytes: usize,
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    match text.parse() {
        Ok(seconds @ 1..=3600) => Ok(Duration::from_secs(seconds)),
        _ => Err("expected 1 to 3600 seconds"),
    }
}
