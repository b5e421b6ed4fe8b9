//! The settings of the REST API.

use std::net::SocketAddr;
use std::time::Duration;

use service::Secret;
use service::postgres::Dsn;

/// The settings of the REST API.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Database that holds the articles (DB1), as a libpq URL
    #[arg(long, env = "LOCKSTEP_SOURCE", value_name = "DSN")]
    pub source: Dsn,

    /// Address and port of the REST API
    #[arg(
        long,
        env = "LOCKSTEP_API_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:5000"
    )]
    pub api_listen: SocketAddr,

    /// Bearer token that writes must carry, or file:/path; without one everybody may write
    #[arg(long, env = "LOCKSTEP_API_TOKEN", value_name = "TOKEN")]
    pub api_token: Option<Secret>,

    /// Listen beyond loopback although no token is asked for
    #[arg(long, env = "LOCKSTEP_API_ALLOW_ANONYMOUS")]
    pub api_allow_anonymous: bool,

    /// Refuse changes that do not say by If-Match which version they are of
    #[arg(long, env = "LOCKSTEP_API_REQUIRE_IF_MATCH")]
    pub api_require_if_match: bool,

    /// Connections to the database at most
    #[arg(long, env = "LOCKSTEP_API_CONNECTIONS", value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub api_connections: u16,

    /// Seconds that a request may take
    #[arg(long, env = "LOCKSTEP_API_TIMEOUT_SECONDS", value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub api_timeout_seconds: Duration,

    /// Bytes that the body of a request may have
    #[arg(long, env = "LOCKSTEP_API_BODY_BYTES", value_name = "BYTES", default_value_t = 2 * 1024 * 1024, value_parser = clap::value_parser!(u32).range(1024..))]
    pub api_body_bytes: u32,
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    match text.parse() {
        Ok(seconds @ 1..=3600) => Ok(Duration::from_secs(seconds)),
        _ => Err("expected 1 to 3600 seconds"),
    }
}
