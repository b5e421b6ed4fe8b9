//! A socket whose reader may let what comes gather.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net;
use std::os::unix;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{self, Sleep, sleep};

use super::density::Density;

/// A socket that is connected.
///
/// A walsender hands each message to the socket by itself, and wakes who watches it: under load the
/// wake-ups cost both sides more than the messages. So, where
/// [`Stream::let_gather`](super::Stream::let_gather) allows it, a socket with a dense stream is not
/// watched any more, but read every few milliseconds.
#[derive(Debug)]
pub struct Socket {
    way: Way,
    /// Of what comes, where it may gather.
    density: Option<Density>,
}

#[derive(Debug)]
enum Way {
    /// The runtime tells when something comes.
    Watched(Watched),
    /// Nobody does: looked at when a moment is over.
    Unwatched {
        socket: Unwatched,
        moment: Pin<Box<Sleep>>,
    },
    /// Between the two, and after an error between them.
    Gone,
}

#[derive(Debug)]
enum Watched {
    Tcp(TcpStream),
    Unix(UnixStream),
}

#[derive(Debug)]
enum Unwatched {
    Tcp(net::TcpStream),
    Unix(unix::net::UnixStream),
}

/// How long a dense stream gathers: less than what sockets take on meanwhile (on Linux they grow to
/// several megabytes by themselves).
const MOMENT: Duration = Duration::from_millis(4);

impl Socket {
    /// Lets what comes gather where it is much.
    pub(super) fn let_gather(&mut self) {
        self.density = Some(Density::new(Instant::now()));
    }

    /// Takes note of what was read, and watches the socket, or does not.
    fn came(&mut self, bytes: usize) -> io::Result<()> {
        let Some(density) = &mut self.density else {
            return Ok(());
        };
        density.came(bytes, Instant::now());
        let way = std::mem::replace(&mut self.way, Way::Gone);
        self.way = match (way, density.is_dense()) {
            (Way::Watched(socket), true) => Way::Unwatched {
                socket: socket.unwatch()?,
                moment: Box::pin(sleep(MOMENT)),
            },
            (Way::Unwatched { socket, .. }, false) => Way::Watched(socket.watch()?),
            (way, _) => way,
        };
        Ok(())
    }
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self::from(Watched::Tcp(stream))
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Self::from(Watched::Unix(stream))
    }
}

impl From<Watched> for Socket {
    fn from(socket: Watched) -> Self {
        Self {
            way: Way::Watched(socket),
            density: None,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let before = buffer.filled().len();
            let read = match &mut this.way {
                Way::Watched(socket) => Some(ready!(socket.poll_read(context, buffer))?),
                Way::Unwatched { socket, moment } => {
                    ready!(moment.as_mut().poll(context));
                    let read = if_ready(socket.read(buffer))?;
                    if buffer.remaining() > 0 {
                        // That was all there is.
                        moment.as_mut().reset(time::Instant::now() + MOMENT);
                    }
                    read
                }
                Way::Gone => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            };
            this.came(buffer.filled().len() - before)?;
            if read.is_some() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().way {
            Way::Watched(Watched::Tcp(stream)) => Pin::new(stream).poll_write(context, bytes),
            Way::Watched(Watched::Unix(stream)) => Pin::new(stream).poll_write(context, bytes),
            Way::Unwatched { socket, moment } => loop {
                if let Some(written) = if_ready(socket.write(bytes))? {
                    return Poll::Ready(Ok(written));
                }
                ready!(moment.as_mut().poll(context));
                moment.as_mut().reset(time::Instant::now() + MOMENT);
            },
            Way::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Nothing is held back.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().way {
            Way::Watched(Watched::Tcp(stream)) => Pin::new(stream).poll_shutdown(context),
            Way::Watched(Watched::Unix(stream)) => Pin::new(stream).poll_shutdown(context),
            Way::Unwatched { socket, .. } => Poll::Ready(socket.shutdown()),
            Way::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl Watched {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }

    fn unwatch(self) -> io::Result<Unwatched> {
        Ok(match self {
            Self::Tcp(stream) => Unwatched::Tcp(stream.into_std()?),
            Self::Unix(stream) => Unwatched::Unix(stream.into_std()?),
        })
    }
}

impl Unwatched {
    fn watch(self) -> io::Result<Watched> {
        Ok(match self {
            Self::Tcp(stream) => Watched::Tcp(TcpStream::from_std(stream)?),
            Self::Unix(stream) => Watched::Unix(UnixStream::from_std(stream)?),
        })
    }

    fn read(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
        let room = buffer.initialize_unfilled();
        let bytes = match self {
            Self::Tcp(stream) => stream.read(room)?,
            Self::Unix(stream) => stream.read(room)?,
        };
        buffer.advance(bytes);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn shutdown(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(net::Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(net::Shutdown::Write),
        }
    }
}

/// `None` where the socket is not ready.
fn if_ready<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(it) => Ok(Some(it)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const MESSAGES: u32 = 500_000;

    /// Reads numbers from `first` on until `last`, and answers whether the socket was ever unwatched.
    async fn read_numbers(socket: &mut Socket, first: u32, last: u32) -> bool {
        let mut bytes = Vec::new();
        let mut expected = first;
        let mut was_unwatched = false;
        while expected <= last {
            assert!(socket.read_buf(&mut bytes).await.unwrap() > 0);
            was_unwatched |= matches!(socket.way, Way::Unwatched { .. });
            let whole = bytes.len() - bytes.len() % 4;
            for number in bytes.drain(..whole).as_slice().chunks(4) {
                assert_eq!(number, expected.to_be_bytes());
                expected += 1;
            }
        }
        was_unwatched
    }

    #[tokio::test]
    async fn a_dense_stream_gathers_and_a_quiet_one_is_watched() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut socket = Socket::from(near);
        socket.let_gather();
        let write = async {
            for number in 0..MESSAGES {
                far.write_all(&number.to_be_bytes()).await.unwrap();
            }
        };
        let ((), was_unwatched) = tokio::join!(write, read_numbers(&mut socket, 0, MESSAGES - 1));
        assert!(was_unwatched);
        // Both ways are open while it is unwatched, and after.
        for number in MESSAGES..MESSAGES + 100 {
            socket.write_all(&number.to_be_bytes()).await.unwrap();
            assert_eq!(far.read_u32().await.unwrap(), number);
            far.write_u32(number).await.unwrap();
            read_numbers(&mut socket, number, number).await;
        }
        assert!(matches!(socket.way, Way::Watched(_)));
        drop(far);
        assert_eq!(socket.read_buf(&mut Vec::new()).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn one_that_was_not_let_is_always_watched() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut socket = Socket::from(near);
        let write = async {
            for number in 0..MESSAGES {
                far.write_all(&number.to_be_bytes()).await.unwrap();
            }
        };
        let ((), was_unwatched) = tokio::join!(write, read_numbers(&mut socket, 0, MESSAGES - 1));
        assert!(!was_unwatched);
    }
}
