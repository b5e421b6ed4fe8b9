//! Opens the way to a server: name, socket, TLS. What is spoken on it is the caller's.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;
use tokio_postgres::config::Host;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::binding;
use super::connect::{ConnectError, ConnectFault};
use super::dsn::{DEFAULT_PORT, Dsn, SslMode, host_text};
use super::socket::Socket;
use super::tls;

/// How long resolving, connecting and negotiating may take, unless `connect_timeout` says.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection is silent before the kernel asks whether the peer still lives. A server
/// that vanished without a word would else hold a session open for hours.
pub(super) const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// A connection to a server, ready for the start-up message.
#[derive(Debug)]
pub enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
    Unix(UnixStream),
}

/// Connects to the first server of `dsn` that answers and negotiates TLS by its `sslmode`.
///
/// # Errors
///
/// When no server can be reached, or TLS is demanded and cannot be had.
pub async fn dial(dsn: &Dsn) -> Result<Stream, ConnectError> {
    let mut failure = ConnectError::new(dsn, &Endpoint::default(), ConnectFault::NoHost);
    for endpoint in endpoints(dsn) {
        match dial_endpoint(dsn, &endpoint).await {
            Ok(stream) => return Ok(stream),
            Err(fault) => failure = ConnectError::new(dsn, &endpoint, fault),
        }
    }
    Err(failure)
}

/// One server of a connection string, which may list several.
#[derive(Clone, Debug, Default)]
pub(super) struct Endpoint {
    /// The name for certificates and messages, or the directory of a Unix socket.
    pub(super) host: String,
    pub(super) port: u16,
    /// `hostaddr`, which spares the look-up of the name.
    address: Option<std::net::IpAddr>,
    unix: bool,
}

pub(super) fn endpoints(dsn: &Dsn) -> Vec<Endpoint> {
    let config = dsn.config();
    let ports = config.get_ports();
    let hosts = config.get_hosts().iter().enumerate();
    let endpoints = hosts.map(|(index, host)| Endpoint {
        host: host_text(host),
        port: ports
            .get(index)
            .or(ports.first())
            .copied()
            .unwrap_or(DEFAULT_PORT),
        address: config.get_hostaddrs().get(index).copied(),
        unix: matches!(host, Host::Unix(_)),
    });
    endpoints.collect()
}

pub(super) async fn dial_endpoint(dsn: &Dsn, endpoint: &Endpoint) -> Result<Stream, ConnectFault> {
    let limit = connect_timeout(dsn);
    timeout(limit, negotiate(dsn, endpoint))
        .await
        .map_err(|_| ConnectFault::Timeout { limit })?
}

pub(super) fn connect_timeout(dsn: &Dsn) -> Duration {
    let configured = dsn.config().get_connect_timeout();
    configured.copied().unwrap_or(CONNECT_TIMEOUT)
}

async fn negotiate(dsn: &Dsn, endpoint: &Endpoint) -> Result<Stream, ConnectFault> {
    if endpoint.unix {
        // libpq never asks for TLS on a Unix socket.
        let path = format!("{}/.s.PGSQL.{}", endpoint.host, endpoint.port);
        let stream = UnixStream::connect(path)
            .await
            .map_err(ConnectFault::Reach)?;
        return Ok(Stream::Unix(stream));
    }
    if dsn.ssl_mode() == SslMode::Disable {
        return open_plain(endpoint).await;
    }
    match negotiate_tls(dsn, endpoint).await {
        // Not only a server without TLS: also one whose TLS does not work, as in libpq.
        Err(ConnectFault::Handshake(error)) if dsn.ssl_mode() == SslMode::Prefer => {
            tracing::warn!(
                host = endpoint.host, port = endpoint.port, %error,
                "TLS handshake failed, going on without TLS as sslmode=prefer allows"
            );
            open_plain(endpoint).await
        }
        outcome => outcome,
    }
}

/// Sends `SSLRequest` (manual, "SSL Session Encryption") and does what the answer allows.
async fn negotiate_tls(dsn: &Dsn, endpoint: &Endpoint) -> Result<Stream, ConnectFault> {
    let config = tls::client_config(dsn.ssl()).map_err(ConnectFault::Tls)?;
    let mut tcp = open_tcp(endpoint).await?;
    tcp.write_all(&SSL_REQUEST)
        .await
        .map_err(ConnectFault::Reach)?;
    // One byte and not more: bytes behind it would be unencrypted data from someone in between
    // (CVE-2021-23222). Reading exactly one leaves them to the TLS handshake, which fails on them.
    let answer = tcp.read_u8().await.map_err(ConnectFault::Reach)?;
    match (answer, dsn.ssl_mode()) {
        (b'S', _) => {}
        (b'N', SslMode::Prefer) => return Ok(Stream::Plain(tcp.into())),
        (b'N', mode) => return Err(ConnectFault::NoTls { mode }),
        // 'E' starts an ErrorResponse, which nothing authenticates yet: it is not shown.
        _ => return Err(ConnectFault::NotPostgres),
    }
    let name =
        ServerName::try_from(endpoint.host.clone()).map_err(|_| ConnectFault::BadHostName)?;
    TlsConnector::from(Arc::new(config))
        .connect(name, Socket::from(tcp))
        .await
        .map(|stream| Stream::Tls(Box::new(stream)))
        .map_err(ConnectFault::Handshake)
}

/// Length 8, then the code 1234.5679.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

async fn open_plain(endpoint: &Endpoint) -> Result<Stream, ConnectFault> {
    Ok(Stream::Plain(open_tcp(endpoint).await?.into()))
}

async fn open_tcp(endpoint: &Endpoint) -> Result<TcpStream, ConnectFault> {
    let addresses: Vec<SocketAddr> = match endpoint.address {
        Some(address) => vec![SocketAddr::new(address, endpoint.port)],
        None => lookup_host((endpoint.host.as_str(), endpoint.port))
            .await
            .map_err(ConnectFault::Resolve)?
            .collect(),
    };
    let mut failure = ConnectFault::NoHost;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                prepare(&stream).map_err(ConnectFault::Reach)?;
                return Ok(stream);
            }
            Err(error) => failure = ConnectFault::Reach(error),
        }
    }
    Err(failure)
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

impl Stream {
    /// The data for SCRAM's channel binding `tls-server-end-point`; none without TLS, or when the
    /// certificate's signature has no hash function that is known here.
    pub fn tls_server_end_point(&self) -> Option<Vec<u8>> {
        match self {
            Self::Plain(_) | Self::Unix(_) => None,
            Self::Tls(stream) => {
                let (_, session) = stream.get_ref();
                let certificate = session.peer_certificates()?.first()?;
                binding::tls_server_end_point(certificate)
            }
        }
    }

    /// From now on the other side may send much at once, which had better gather than be read piece
    /// by piece: see [`Socket`].
    pub fn let_gather(&mut self) {
        match self {
            Self::Plain(socket) => socket.let_gather(),
            Self::Tls(stream) => stream.get_mut().0.let_gather(),
            // It holds no more than its sender's buffer, some hundred messages, and never grows.
            Self::Unix(_) => {}
        }
    }

    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
