//! A connection string: libpq's URL or keyword form (manual, "Connection Strings").

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::passfile;
use crate::secret::{Secret, SecretError};

mod parameters;
use parameters::Parameter;

/// Where a database is and how to reach it. Never prints the password.
///
/// Parsed from `postgresql://user:password@host:port/dbname?sslmode=…`, from
/// `host=… user=… dbname=…`, or from `file:/path` whose first line is one of these. A password that
/// is not in the string comes from `passfile`, by default `~/.pgpass`, as with libpq. The `PG*`
/// variables of libpq are not read.
#[derive(Clone, PartialEq, Eq)]
pub struct Dsn {
    config: Config,
    ssl: Ssl,
}

/// What `tokio_postgres` leaves to the TLS library.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ssl {
    pub(super) mode: SslMode,
    pub(super) root_certificate: Option<PathBuf>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

/// libpq's `sslmode` (manual, "SSL Support"). `allow` is not offered: it protects nothing that
/// `prefer` does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS when the server offers it, else without.
    #[default]
    Prefer,
    /// TLS or no connection; the certificate is verified only when a root certificate file exists.
    Require,
    /// TLS with a certificate that a trusted authority signed.
    VerifyCa,
    /// As `VerifyCa`, and the certificate names the host.
    VerifyFull,
}

/// Why a connection string is refused. Never shows the string: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum DsnError {
    #[error("read connection string from its file")]
    File(#[source] SecretError),
    #[error("not a connection string: {0}")]
    Syntax(&'static str),
    #[error("{parameter} is not one of {allowed}")]
    Value {
        parameter: &'static str,
        allowed: &'static str,
    },
    #[error("{0} is missing from the connection string")]
    Missing(&'static str),
    #[error("{0} is not supported")]
    Unsupported(String),
    #[error("not a connection string")]
    Config(#[source] tokio_postgres::Error),
}

impl FromStr for Dsn {
    type Err = DsnError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("file:") {
            let secret = Secret::from_setting(text).map_err(DsnError::File)?;
            return parse(secret.expose());
        }
        parse(text)
    }
}

fn parse(text: &str) -> Result<Dsn, DsnError> {
    let (text, parameters) = parameters::take(text)?;
    let mut ssl = Ssl::default();
    let mut password_file = None;
    for Parameter { name, value } in parameters {
        match name {
            "sslmode" => ssl.mode = value.parse()?,
            "sslrootcert" => ssl.root_certificate = Some(value.into()),
            "sslcert" => ssl.certificate = Some(value.into()),
            "sslkey" => ssl.key = Some(value.into()),
            "passfile" => password_file = Some(PathBuf::from(value)),
            other => return Err(DsnError::Unsupported(other.to_owned())),
        }
    }
    let mut config: Config = text.parse().map_err(DsnError::Config)?;
    if config.get_hosts().is_empty() {
        // The address then stands for the name in certificates too, as in libpq.
        for address in config.get_hostaddrs().to_vec() {
            config.host(address.to_string());
        }
    }
    if config.get_hosts().is_empty() {
        return Err(DsnError::Missing("host"));
    }
    if config.get_user().is_none() {
        return Err(DsnError::Missing("user"));
    }
    let mut dsn = Dsn { config, ssl };
    if dsn.config.get_password().is_none() {
        dsn.read_password_file(password_file);
    }
    Ok(dsn)
}

impl Dsn {
    pub fn user(&self) -> &str {
        self.config.get_user().unwrap_or_default()
    }

    pub fn password(&self) -> Option<Secret> {
        let password = self.config.get_password()?;
        Some(Secret::new(String::from_utf8_lossy(password)))
    }

    /// The first host: a name, an address, or the directory of a Unix socket.
    pub fn host(&self) -> String {
        self.config
            .get_hosts()
            .first()
            .map(host_text)
            .unwrap_or_default()
    }

    pub fn port(&self) -> u16 {
        self.config
            .get_ports()
            .first()
            .copied()
            .unwrap_or(DEFAULT_PORT)
    }

    /// The database; the user's name when none is given, as the server has it.
    pub fn dbname(&self) -> &str {
        self.config.get_dbname().unwrap_or_else(|| self.user())
    }

    pub fn options(&self) -> Option<&str> {
        self.config.get_options()
    }

    pub fn ssl_mode(&self) -> SslMode {
        self.ssl.mode
    }

    /// The same server and user, another database.
    pub fn with_dbname(mut self, dbname: &str) -> Self {
        self.config.dbname(dbname);
        self
    }

    /// The same server and database, another user.
    pub fn with_user(mut self, user: &str, password: &Secret) -> Self {
        self.config.user(user).password(password.expose());
        self
    }

    /// What a connection pool needs, beside [`super::tls_connector`].
    ///
    /// `sslmode=prefer` is here what the library makes of it: TLS when the server offers it, but no
    /// second attempt without TLS when the handshake fails.
    pub fn tokio_config(&self, application_name: &str) -> Config {
        let mut config = self.config.clone();
        config.application_name(application_name);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(super::dial::CONNECT_TIMEOUT);
        }
        config.keepalives_idle(super::dial::KEEPALIVE_IDLE);
        config.ssl_mode(match self.ssl.mode {
            // libpq ignores sslmode on a Unix socket.
            _ if self.is_unix() => tokio_postgres::config::SslMode::Disable,
            SslMode::Disable => tokio_postgres::config::SslMode::Disable,
            SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
                tokio_postgres::config::SslMode::Require
            }
        });
        config
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn ssl(&self) -> &Ssl {
        &self.ssl
    }

    fn is_unix(&self) -> bool {
        let hosts = self.config.get_hosts();
        hosts.iter().all(|host| matches!(host, Host::Unix(_)))
    }

    fn read_password_file(&mut self, path: Option<PathBuf>) {
        let found = passfile::password(path, &self.host(), self.port(), self.dbname(), self.user());
        if let Some(password) = found {
            self.config.password(password.expose());
        }
    }
}

pub(super) const DEFAULT_PORT: u16 = 5432;

pub(super) fn host_text(host: &Host) -> String {
    match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    }
}

impl FromStr for SslMode {
    type Err = DsnError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "disable" => Ok(Self::Disable),
            "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            "verify-ca" => Ok(Self::VerifyCa),
            "verify-full" => Ok(Self::VerifyFull),
            _ => Err(DsnError::Value {
                parameter: "sslmode",
                allowed: "disable, prefer, require, verify-ca, verify-full",
            }),
        }
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        })
    }
}

/// As a URL, without the password.
impl fmt::Display for Dsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (user, port, dbname) = (self.user(), self.port(), self.dbname());
        match self.config.get_hosts().first() {
            Some(Host::Unix(path)) => {
                let path = path.display();
                write!(f, "postgresql://{user}@:{port}/{dbname}?host={path}")
            }
            Some(Host::Tcp(host)) if host.contains(':') => {
                write!(
                    f,
                    "postgresql://{user}@[{host}]:{port}/{dbname}?sslmode={}",
                    self.ssl.mode
                )
            }
            Some(Host::Tcp(host)) => {
                write!(
                    f,
                    "postgresql://{user}@{host}:{port}/{dbname}?sslmode={}",
                    self.ssl.mode
                )
            }
            None => write!(f, "postgresql://{user}@/{dbname}"),
        }
    }
}

impl fmt::Debug for Dsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dsn({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Dsn {
        text.parse().unwrap()
    }

    #[test]
    fn both_forms_say_the_same() {
        let url = parsed("postgres://ann:p%40ss@db.example:5433/app?sslmode=verify-full");
        let keywords = parsed(
            "host=db.example port = 5433 user=ann password='p@ss' dbname=app sslmode=verify-full",
        );
        for dsn in [url, keywords] {
            assert_eq!(dsn.user(), "ann");
            assert_eq!(dsn.password().unwrap().expose(), "p@ss");
            assert_eq!(dsn.host(), "db.example");
            assert_eq!(dsn.port(), 5433);
            assert_eq!(dsn.dbname(), "app");
            assert_eq!(dsn.ssl_mode(), SslMode::VerifyFull);
        }
    }

    #[test]
    fn defaults_are_those_of_libpq() {
        let dsn = parsed("postgresql://ann@db.example");
        assert_eq!(dsn.port(), 5432);
        assert_eq!(dsn.dbname(), "ann");
        assert_eq!(dsn.ssl_mode(), SslMode::Prefer);
    }

    #[test]
    fn files_are_taken_from_the_string() {
        let dsn = parsed("postgresql://ann@db/app?sslrootcert=/a%20b/ca.crt&application_name=x");
        assert_eq!(dsn.ssl.root_certificate, Some("/a b/ca.crt".into()));
        assert_eq!(dsn.config.get_application_name(), Some("x"));
        let dsn = parsed(r"host=db user=ann sslrootcert='/it\'s/ca.crt' options='-c a=\'b c\''");
        assert_eq!(dsn.ssl.root_certificate, Some("/it's/ca.crt".into()));
        assert_eq!(dsn.options(), Some("-c a='b c'"));
    }

    #[test]
    fn a_unix_socket_and_an_ipv6_address_are_hosts() {
        assert_eq!(
            parsed("host=/var/run/postgresql user=ann").host(),
            "/var/run/postgresql"
        );
        let dsn = parsed("postgresql://ann@[::1]:5433/app");
        assert_eq!((dsn.host().as_str(), dsn.port()), ("::1", 5433));
        assert_eq!(parsed("hostaddr=127.0.0.1 user=ann").host(), "127.0.0.1");
    }

    #[test]
    fn the_password_is_never_shown() {
        let dsn = parsed("postgresql://ann:hunter2@db/app");
        let shown = format!("{dsn} {dsn:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(
            dsn.to_string(),
            "postgresql://ann@db:5432/app?sslmode=prefer"
        );
    }

    #[track_caller]
    fn refused(text: &str, because: &str) {
        let error = text.parse::<Dsn>().unwrap_err();
        let shown = crate::chain(&error);
        assert!(shown.contains(because), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        refused(
            "postgresql://ann:hunter2@db/app?sslmode=verify",
            "sslmode is not one of",
        );
        refused(
            "host=db user=ann password=hunter2 sslmode=allow",
            "sslmode is not one of",
        );
        refused("host=db user=ann sslcrl=/x", "sslcrl");
        refused("user=ann", "host is missing");
        refused("host=db password=hunter2", "user is missing");
        refused("host=db user=ann password='hunter2", "quote");
        refused("hunter2", "=");
        refused("host=db user=ann port=hunter2x", "port");
    }

    #[test]
    fn a_dsn_can_come_from_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "postgresql://ann:hunter2@db/app\n").unwrap();
        let dsn = parsed(&format!("file:{}", file.path().display()));
        assert_eq!(dsn.password().unwrap().expose(), "hunter2");
    }

    #[test]
    fn a_password_file_is_read_when_the_string_has_no_password() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "*:*:app:ann:from-file\n").unwrap();
        let path = file.path().display();
        let dsn = parsed(&format!("postgresql://ann@db/app?passfile={path}"));
        assert_eq!(dsn.password().unwrap().expose(), "from-file");
        let dsn = parsed(&format!("postgresql://ann:own@db/app?passfile={path}"));
        assert_eq!(dsn.password().unwrap().expose(), "own");
    }
}
