//! Starts a session: the dialled stream, authenticated.

use std::future::{Ready, ready};
use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::{SslNegotiation, TargetSessionAttrs};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::dial::{Endpoint, Stream, connect_timeout, dial_endpoint, endpoints};
use super::dsn::{Dsn, SslMode};
use super::tls::TlsError;
use crate::chain;

/// A session. Derefs to the client; the task that drives its connection ends when this is dropped.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    driver: JoinHandle<()>,
}

/// Connects to the first server of `dsn` that lets us in and has the `target_session_attrs` asked
/// for.
///
/// # Errors
///
/// When no server can be reached or lets us in; [`ConnectError::is_transient`] says whether trying
/// again can help.
pub async fn connect(dsn: &Dsn, application_name: &str) -> Result<Connection, ConnectError> {
    let mut failure = ConnectError::new(dsn, &Endpoint::default(), ConnectFault::NoHost);
    for endpoint in endpoints(dsn) {
        match connect_endpoint(dsn, &endpoint, application_name).await {
            Ok(connection) => return Ok(connection),
            Err(fault) => failure = ConnectError::new(dsn, &endpoint, fault),
        }
    }
    Err(failure)
}

async fn connect_endpoint(
    dsn: &Dsn,
    endpoint: &Endpoint,
    application_name: &str,
) -> Result<Connection, ConnectFault> {
    let stream = dial_endpoint(dsn, endpoint).await?;
    let limit = connect_timeout(dsn);
    timeout(
        limit,
        start_session(dsn, endpoint, stream, application_name),
    )
    .await
    .map_err(|_| ConnectFault::Timeout { limit })?
}

async fn start_session(
    dsn: &Dsn,
    endpoint: &Endpoint,
    stream: Stream,
    application_name: &str,
) -> Result<Connection, ConnectFault> {
    let mut config = dsn.config().clone();
    config.application_name(application_name);
    match stream.is_tls() {
        // The stream speaks TLS already: "direct" makes the library take it as it is, and find its
        // channel binding.
        true => config
            .ssl_mode(tokio_postgres::config::SslMode::Require)
            .ssl_negotiation(SslNegotiation::Direct),
        false => config.ssl_mode(tokio_postgres::config::SslMode::Disable),
    };
    let (client, connection) = config
        .connect_raw(stream, Negotiated)
        .await
        .map_err(ConnectFault::Session)?;
    let address = format!("{}:{}", endpoint.host, endpoint.port);
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!(address, error = %chain(&error), "connection to Postgres lost");
        }
    });
    let connection = Connection { client, driver };
    connection.check(config.get_target_session_attrs()).await?;
    Ok(connection)
}

impl Connection {
    async fn check(&self, wanted: TargetSessionAttrs) -> Result<(), ConnectFault> {
        let read_only = match wanted {
            TargetSessionAttrs::ReadWrite => "off",
            TargetSessionAttrs::ReadOnly => "on",
            _ => return Ok(()),
        };
        let rows = self.client.simple_query("show transaction_read_only").await;
        for message in rows.map_err(ConnectFault::Session)? {
            if let SimpleQueryMessage::Row(row) = message
                && row.get(0) != Some(read_only)
            {
                return Err(ConnectFault::WrongSession);
            }
        }
        Ok(())
    }
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Why there is no session: where to, and what went wrong. Never shows the password.
#[derive(Debug, thiserror::Error)]
#[error("connect to Postgres at {address}, database {database}, user {user}")]
pub struct ConnectError {
    pub address: String,
    pub database: String,
    pub user: String,
    #[source]
    pub fault: ConnectFault,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum ConnectFault {
    #[error("the connection string leads to no address")]
    NoHost,
    #[error("resolve host name")]
    Resolve(#[source] io::Error),
    #[error("reach the server")]
    Reach(#[source] io::Error),
    #[error("no answer within {} s", limit.as_secs_f32())]
    Timeout { limit: Duration },
    #[error("prepare TLS")]
    Tls(#[source] TlsError),
    #[error("the server does not offer TLS, and sslmode={mode} demands it")]
    NoTls { mode: SslMode },
    #[error("what answers is not a Postgres server")]
    NotPostgres,
    #[error("the host name cannot stand in a certificate")]
    BadHostName,
    #[error("TLS handshake")]
    Handshake(#[source] io::Error),
    #[error("start session")]
    Session(#[source] tokio_postgres::Error),
    #[error("the server is not what target_session_attrs asks for")]
    WrongSession,
}

impl ConnectError {
    pub(super) fn new(dsn: &Dsn, endpoint: &Endpoint, fault: ConnectFault) -> Self {
        Self {
            address: format!("{}:{}", endpoint.host, endpoint.port),
            database: dsn.dbname().to_owned(),
            user: dsn.user().to_owned(),
            fault,
        }
    }

    /// Whether the same attempt can succeed later without anybody changing a setting.
    pub fn is_transient(&self) -> bool {
        match &self.fault {
            ConnectFault::Resolve(_)
            | ConnectFault::Reach(_)
            | ConnectFault::Timeout { .. }
            | ConnectFault::WrongSession => true,
            ConnectFault::NoHost
            | ConnectFault::Tls(_)
            | ConnectFault::NoTls { .. }
            | ConnectFault::NotPostgres
            | ConnectFault::BadHostName => false,
            ConnectFault::Handshake(error) => error.kind() != io::ErrorKind::InvalidData,
            ConnectFault::Session(error) => is_transient(error),
        }
    }
}

/// Whether a failed session start is a state of the server that passes.
fn is_transient(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => [
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::TOO_MANY_CONNECTIONS,
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
        ]
        .contains(code),
        // Without an answer from the server it is the connection that broke, unless the server asks
        // for something that we do not have (a password, a way to authenticate).
        None => error.is_closed() || source_is_io(error),
    }
}

fn source_is_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|cause| {
        let io = cause.downcast_ref::<io::Error>();
        io.is_some_and(|io| io.kind() != io::ErrorKind::InvalidInput)
    })
}

/// Hands the library a stream whose TLS is already negotiated.
struct Negotiated;

impl TlsConnect<Stream> for Negotiated {
    type Stream = NegotiatedStream;
    type Error = io::Error;
    type Future = Ready<io::Result<NegotiatedStream>>;

    fn connect(self, stream: Stream) -> Self::Future {
        ready(Ok(NegotiatedStream(stream)))
    }
}

struct NegotiatedStream(Stream);

impl TlsStream for NegotiatedStream {
    fn channel_binding(&self) -> ChannelBinding {
        match self.0.tls_server_end_point() {
            Some(hash) => ChannelBinding::tls_server_end_point(hash),
            None => ChannelBinding::none(),
        }
    }
}

impl AsyncRead for NegotiatedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for NegotiatedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
