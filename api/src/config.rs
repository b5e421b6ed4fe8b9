//! The settings of the REST API.

use std::net::SocketAddr;
use std::time::Duration;

use service::Secret;
use service::postgres::Dsn;

/// The settings of the REST API.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Database that holds the articles (DB1), as a libpq URL
    #[arg(
        long,
        env = "LOCKSTEP_SOURCE",
        value_name = "DSN",
        required_unless_present = "read_only"
    )]
    pub source: Option<Dsn>,

    /// Serve reads only, from the replica
    #[arg(long, env = "LOCKSTEP_API_READ_ONLY", requires = "target")]
    pub read_only: bool,

    /// Replica (DB2) that --read-only serves from, as a libpq URL
    #[arg(long, env = "LOCKSTEP_TARGET", value_name = "DSN")]
    pub target: Option<Dsn>,

    /// Name of the progress on the replica
    #[arg(long, env = "LOCKSTEP_PIPELINE", default_value = "lockstep")]
    pub pipeline: String,

    /// Seconds that a read of the replica waits for the position that it asks for
    #[arg(long, env = "LOCKSTEP_API_WAIT_SECONDS", value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub api_wait_seconds: Duration,

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

/// Which database is served.
#[derive(Clone, Debug)]
pub(crate) enum Side {
    /// DB1: reads and writes.
    Primary(Dsn),
    /// DB2: reads.
    Replica(Dsn),
}

impl Side {
    pub(crate) fn dsn(&self) -> &Dsn {
        match self {
            Self::Primary(dsn) | Self::Replica(dsn) => dsn,
        }
    }

    pub(crate) fn is_replica(&self) -> bool {
        matches!(self, Self::Replica(_))
    }

    /// What the database is called where health is shown.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Primary(_) => "source",
            Self::Replica(_) => "target",
        }
    }
}

impl Config {
    /// The side that the settings name; none without the database that it needs.
    pub(crate) fn side(&self) -> Option<Side> {
        match self.read_only {
            true => self.target.clone().map(Side::Replica),
            false => self.source.clone().map(Side::Primary),
        }
    }
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    match text.parse() {
        Ok(seconds @ 1..=3600) => Ok(Duration::from_secs(seconds)),
        _ => Err("expected 1 to 3600 seconds"),
    }
}
