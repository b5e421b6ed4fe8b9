//! One client's connection: requests in, answers out, in the order in which they came.
//!
//! A request is answered before the next one begins, as Kafka does it: producers rely on that for
//! the order of their batches. Meanwhile the socket is read ahead, so that the next request is there
//! at once and a client that goes away is noticed while its request waits.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::api::{self, ApiError};
use super::cluster::Cluster;
use super::config::Config;
use super::wire::{Api, RequestHeader, WireError, check_body, served};

const LENGTH: usize = 4;
/// Read ahead while a request is being answered: the bound on requests in flight.
const READ_AHEAD: usize = 256 << 10;
/// Free space to read into. It grows with what has arrived, not with what is announced.
const READ_CHUNK_MIN: usize = 16 << 10;
const READ_CHUNK_MAX: usize = 1 << 20;
/// A longer request takes one of the cluster's places for large requests for what is beyond this,
/// until it is answered.
const LARGE_REQUEST: usize = 4 << 20;
/// How long a request is still answered once the client sends no more: it may yet be reading, or be
/// gone.
const LINGER: Duration = Duration::from_secs(1);

/// Why a connection is closed from this side.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error("a request announces {announced} bytes, more than {limit}")]
    TooLong { announced: i32, limit: usize },
    #[error("a request is not readable")]
    Wire(#[from] WireError),
    #[error("request kind {api_key} is not served in version {api_version}")]
    Unsupported { api_key: i16, api_version: i16 },
    #[error("a request did not arrive, or a response was not taken, within {0:?}")]
    Slow(Duration),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("connection failed")]
    Io(#[from] io::Error),
}

/// Serves a connection until the client leaves, errs, or `stop` is requested.
pub(super) async fn serve(
    cluster: Arc<Cluster>,
    socket: TcpStream,
    peer: SocketAddr,
    stop: CancellationToken,
) {
    let mut connection = Connection {
        socket,
        input: BytesMut::new(),
        at_end: false,
    };
    let served = tokio::select! {
        biased;
        served = connection.serve(&cluster) => served,
        // After the requests, so that one that is answered already gets its answer out.
        () = stop.cancelled() => Ok(()),
    };
    match served {
        Ok(()) => debug!(%peer, "connection closed"),
        Err(ConnectionError::Io(cause)) => debug!(%peer, %cause, "connection failed"),
        Err(cause) => {
            warn!(%peer, cause = &cause as &dyn std::error::Error, "close connection");
        }
    }
}

struct Connection {
    socket: TcpStream,
    /// What has arrived and is not yet answered.
    input: BytesMut,
    /// Whether the client sends no more.
    at_end: bool,
}

impl Connection {
    async fn serve(&mut self, cluster: &Arc<Cluster>) -> Result<(), ConnectionError> {
        let limit = cluster.config.transfer_max;
        while let Some((request, _place)) = self.next_request(cluster).await? {
            let answer = Box::pin(answer(cluster, request));
            let Some(answered) = self.reading_ahead(answer).await? else {
                continue;
            };
            if let Some(response) = answered? {
                let written = timeout(limit, self.socket.write_all(&response));
                written.await.map_err(|_| ConnectionError::Slow(limit))??;
            }
        }
        Ok(())
    }

    /// The next whole request, or `None` when the client has left; with its place if it is large.
    async fn next_request<'a>(
        &mut self,
        cluster: &'a Cluster,
    ) -> Result<Option<(Bytes, Option<SemaphorePermit<'a>>)>, ConnectionError> {
        let config = &cluster.config;
        let Some(length) = self.length_of_next(config).await? else {
            return Ok(None);
        };
        if length <= LARGE_REQUEST {
            return Ok(self
                .take_request(length, config)
                .await?
                .map(|request| (request, None)));
        }
        // Its beginning takes no place, or who announces much and sends nothing would hold one.
        if !self.fill(LARGE_REQUEST, config).await? {
            return Ok(None);
        }
        let place = cluster.large_requests.acquire().await;
        let place = place.expect("the semaphore is never closed");
        let limit = config.transfer_max;
        let request = timeout(limit, self.take_request(length, config));
        let request = request.await.map_err(|_| ConnectionError::Slow(limit))??;
        Ok(request.map(|request| (request, Some(place))))
    }

    async fn length_of_next(&mut self, config: &Config) -> Result<Option<usize>, ConnectionError> {
        let limit = config.request_bytes_max;
        loop {
            if let Some(prefix) = self.input.first_chunk::<LENGTH>() {
                let announced = i32::from_be_bytes(*prefix);
                let length = usize::try_from(announced)
                    .ok()
                    .filter(|length| *length <= limit);
                return length
                    .map(Some)
                    .ok_or(ConnectionError::TooLong { announced, limit });
            }
            if self.at_end {
                return Ok(None);
            }
            match timeout(config.connection_idle_max, self.read()).await {
                Ok(read) => read?,
                Err(_) => return Ok(None),
            }
        }
    }

    async fn take_request(
        &mut self,
        length: usize,
        config: &Config,
    ) -> Result<Option<Bytes>, ConnectionError> {
        if !self.fill(length, config).await? {
            return Ok(None);
        }
        self.input.advance(LENGTH);
        Ok(Some(self.input.split_to(length).freeze()))
    }

    /// Reads until `length` bytes of the next request are there; `false` when the client left before.
    async fn fill(&mut self, length: usize, config: &Config) -> Result<bool, ConnectionError> {
        let limit = config.connection_idle_max;
        while self.input.len() < LENGTH + length {
            if self.at_end {
                return Ok(false);
            }
            timeout(limit, self.read())
                .await
                .map_err(|_| ConnectionError::Slow(limit))??;
        }
        Ok(true)
    }

    /// Waits for the answer while reading what comes next; `None` when the client left meanwhile.
    /// What waits for a client is then given up; what writes is done all the same.
    async fn reading_ahead<T>(
        &mut self,
        mut answer: impl Future<Output = T> + Unpin,
    ) -> Result<Option<T>, ConnectionError> {
        loop {
            tokio::select! {
                biased;
                answered = &mut answer => return Ok(Some(answered)),
                read = self.read(), if !self.at_end && self.input.len() < READ_AHEAD => read?,
            }
            if self.at_end {
                return Ok(timeout(LINGER, answer).await.ok());
            }
        }
    }

    /// Reads what is there. Cancel-safe.
    async fn read(&mut self) -> io::Result<()> {
        self.input
            .reserve(self.input.len().clamp(READ_CHUNK_MIN, READ_CHUNK_MAX));
        self.at_end = self.socket.read_buf(&mut self.input).await? == 0;
        Ok(())
    }
}

/// Answers one request, its length taken off; `None` when the client wants no answer.
pub(super) async fn answer(
    cluster: &Arc<Cluster>,
    request: Bytes,
) -> Result<Option<BytesMut>, ConnectionError> {
    let header = RequestHeader::parse(&request)?;
    let RequestHeader {
        api_key,
        api_version,
        correlation_id,
        ..
    } = header;
    let unsupported = ConnectionError::Unsupported {
        api_key,
        api_version,
    };
    let Some(api) = served(api_key) else {
        return Err(unsupported);
    };
    if !api.serves(api_version) {
        return match api.key {
            ApiKey::ApiVersions => Ok(api::unsupported_version(correlation_id)?),
            _ => Err(unsupported),
        };
    }
    let body = checked_body(api, &header, request)?;
    Ok(api::answer(cluster, api.key, &header, body).await?)
}

fn checked_body(api: &Api, header: &RequestHeader, request: Bytes) -> Result<Bytes, WireError> {
    let flexible = api.key.request_header_version(header.api_version) >= 2;
    let body = request.slice(header.body_offset(&request, flexible)?..);
    check_body(api.body, header.api_version, flexible, &body)?;
    Ok(body)
}
