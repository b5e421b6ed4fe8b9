//! The settings of the console.

use std::net::SocketAddr;

use service::listener::Protection;

use crate::users::User;

/// The settings of the console.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Address and port of the console
    #[arg(
        long,
        env = "LOCKSTEP_CONSOLE_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080"
    )]
    pub console_listen: SocketAddr,

    /// Who may sign in, as NAME:ROLE:HASH with the role viewer, operator or admin, and a hash by
    /// `lockstep console --hash-password`, or file:/path; repeatable. Without any, whoever is on
    /// this machine is admin
    #[arg(
        long,
        env = "LOCKSTEP_CONSOLE_USER",
        value_name = "USER",
        value_delimiter = ';'
    )]
    pub console_user: Vec<User>,

    /// A name by which browsers may ask for the console, beside localhost and addresses; repeatable
    #[arg(
        long,
        env = "LOCKSTEP_CONSOLE_HOST",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub console_host: Vec<String>,

    /// Let browsers send the session's cookie without TLS, although the console listens beyond
    /// loopback
    #[arg(long, env = "LOCKSTEP_CONSOLE_PLAIN_HTTP")]
    pub console_plain_http: bool,

    /// Seconds behind that are still well
    #[arg(
        long,
        env = "LOCKSTEP_MAX_LAG",
        value_name = "SECONDS",
        default_value_t = 300
    )]
    pub max_lag: u64,
}

impl Config {
    pub(crate) fn protection(&self) -> Protection {
        match self.console_user.is_empty() {
            true => Protection::Absent,
            false => Protection::Present,
        }
    }

    pub(crate) fn cookies_need_tls(&self) -> bool {
        !self.console_listen.ip().is_loopback() && !self.console_plain_http
    }
}
