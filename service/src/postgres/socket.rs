//! A socket whose reader may let what comes gather.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{self, Sleep, sleep};

use super::density::{Density, Gathering};

/// A TCP socket that is connected.
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
    Watched(TcpStream),
    /// Nobody does: looked at when a moment is over.
    Unwatched {
        socket: net::TcpStream,
        moment: Pin<Box<Sleep>>,
        gathering: Gathering,
        /// What came since the moment was over.
        bytes: usize,
    },
    /// Between the two, and after an error between them.
    Gone,
}

/// What is read at once of an unwatched socket.
const READ_BYTES: usize = 256 * 1024;

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
        match (&self.way, density.is_dense()) {
            (Way::Watched(_), true) => self.unwatch(),
            (Way::Unwatched { .. }, false) => self.watch().map(drop),
            _ => Ok(()),
        }
    }

    fn unwatch(&mut self) -> io::Result<()> {
        if let Way::Watched(stream) = std::mem::replace(&mut self.way, Way::Gone) {
            let gathering = Gathering::new();
            self.way = Way::Unwatched {
                socket: stream.into_std()?,
                moment: Box::pin(sleep(gathering.span())),
                gathering,
                bytes: 0,
            };
        }
        Ok(())
    }

    /// The stream, watched from now on.
    fn watch(&mut self) -> io::Result<&mut TcpStream> {
        self.way = match std::mem::replace(&mut self.way, Way::Gone) {
            Way::Unwatched { socket, .. } => Way::Watched(TcpStream::from_std(socket)?),
            way => way,
        };
        match &mut self.way {
            Way::Watched(stream) => Ok(stream),
            Way::Unwatched { .. } | Way::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self {
            way: Way::Watched(stream),
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
            let is_there = match &mut this.way {
                Way::Watched(stream) => {
                    ready!(Pin::new(stream).poll_read(context, buffer))?;
                    true
                }
                Way::Unwatched {
                    socket,
                    moment,
                    gathering,
                    bytes,
                } => {
                    ready!(moment.as_mut().poll(context));
                    let room = READ_BYTES.min(buffer.remaining());
                    let read = if_ready(socket.read(buffer.initialize_unfilled_to(room)))?;
                    buffer.advance(read.unwrap_or_default());
                    *bytes += read.unwrap_or_default();
                    if read.unwrap_or_default() < room {
                        // That was all there is.
                        gathering.brought(std::mem::take(bytes));
                        moment
                            .as_mut()
                            .reset(time::Instant::now() + gathering.span());
                    }
                    read.is_some()
                }
                Way::Gone => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            };
            this.came(buffer.filled().len() - before)?;
            if is_there {
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
        let this = self.get_mut();
        if let Way::Unwatched { socket, .. } = &mut this.way
            && let Some(written) = if_ready(socket.write(bytes))?
        {
            return Poll::Ready(Ok(written));
        }
        Pin::new(this.watch()?).poll_write(context, bytes)
    }

    /// Nothing is held back.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().watch()?).poll_shutdown(context)
    }
}

/// `None` where the socket is not ready.
fn if_ready(outcome: io::Result<usize>) -> io::Result<Option<usize>> {
    match outcome {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// So many that they take longer than a window on any machine, and are dense on the slowest.
    const MESSAGES: u32 = 8_000_000;
    const MESSAGES_EACH: u32 = 16_000;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (far, _) = listener.accept().await.unwrap();
        far.set_nodelay(true).unwrap();
        (near, far)
    }

    async fn write_numbers(far: &mut TcpStream) {
        for first in (0..MESSAGES).step_by(usize::try_from(MESSAGES_EACH).unwrap()) {
            let numbers = (first..first + MESSAGES_EACH).flat_map(u32::to_be_bytes);
            far.write_all(&numbers.collect::<Vec<u8>>()).await.unwrap();
        }
    }

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
        let (near, mut far) = pair().await;
        let mut socket = Socket::from(near);
        socket.let_gather();
        let write = write_numbers(&mut far);
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
        let (near, mut far) = pair().await;
        let mut socket = Socket::from(near);
        let write = write_numbers(&mut far);
        let ((), was_unwatched) = tokio::join!(write, read_numbers(&mut socket, 0, MESSAGES - 1));
        assert!(!was_unwatched);
    }
}
