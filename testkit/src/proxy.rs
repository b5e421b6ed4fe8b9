//! A TCP link that can be slow, silent or cut, between a service and what it depends on.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// Forwards loopback connections to `upstream` until dropped, which cuts them.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    link: watch::Sender<Link>,
    task: JoinHandle<()>,
}

/// What the link does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link {
    state: State,
    /// Connections of an earlier generation are cut.
    generation: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Bytes arrive this much later than they were sent.
    Open(Duration),
    /// Nothing arrives, nothing fails: as when packets are dropped. Bytes already sent arrive
    /// after healing, as TCP would send them again.
    Silent,
    /// New connections are closed at once.
    Closed,
}

impl Proxy {
    /// # Panics
    /// When no loopback port can be had.
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("listen on loopback");
        let addr = listener
            .local_addr()
            .expect("a bound socket has an address");
        let open = Link {
            state: State::Open(Duration::ZERO),
            generation: 0,
        };
        let (link, receiver) = watch::channel(open);
        let task = tokio::spawn(accept(listener, upstream, receiver));
        Self { addr, link, task }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on bytes take this long, each way.
    pub fn delay(&self, delay: Duration) {
        self.link
            .send_modify(|link| link.state = State::Open(delay));
    }

    /// From now on nothing arrives and nothing fails.
    pub fn silence(&self) {
        self.link.send_modify(|link| link.state = State::Silent);
    }

    /// Ends all connections; new ones are served.
    pub fn cut(&self) {
        self.link.send_modify(|link| link.generation += 1);
    }

    /// Ends all connections, and new ones at once.
    pub fn close(&self) {
        self.link.send_modify(|link| {
            link.state = State::Closed;
            link.generation += 1;
        });
    }

    /// From now on bytes arrive at once.
    pub fn heal(&self) {
        self.delay(Duration::ZERO);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, link: watch::Receiver<Link>) {
    // Dropped with this task, which ends the connections.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        if link.borrow().state != State::Closed {
            connections.spawn(forward(client, upstream, link.clone()));
        }
    }
}

async fn forward(client: TcpStream, upstream: SocketAddr, link: watch::Receiver<Link>) {
    let generation = link.borrow().generation;
    let Ok(server) = TcpStream::connect(upstream).await else {
        return;
    };
    for stream in [&client, &server] {
        // Without it small messages would wait for one another; the delay is ours to add.
        let _ = stream.set_nodelay(true);
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut cut = link.clone();
    tokio::select! {
        biased;
        // A cut ends the connection whatever is under way.
        _ = cut.wait_for(|link| link.generation != generation) => {}
        // The end of one direction is passed on; the connection ends with the second.
        _ = async {
            tokio::join!(
                one_way(from_client, to_server, link.clone()),
                one_way(from_server, to_client, link),
            )
        } => {}
    }
}

/// Reads and writes separately, so that a delay adds to the latency and not to the throughput.
async fn one_way(
    mut from: OwnedReadHalf,
    to: OwnedWriteHalf,
    mut link: watch::Receiver<Link>,
) -> io::Result<()> {
    // What is on the way: 64 reads of 16 KiB, a good deal more than a socket's buffer.
    let (sender, receiver) = mpsc::channel::<(Instant, Bytes)>(64);
    let writer = write_in_time(to, receiver);
    let reader = async move {
        loop {
            let mut buffer = BytesMut::with_capacity(16 << 10);
            if from.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            let open = link.wait_for(|link| link.state != State::Silent).await;
            let delay = match open.map(|link| link.state) {
                Ok(State::Open(delay)) => delay,
                Ok(State::Silent | State::Closed) | Err(_) => return Ok(()),
            };
            if sender
                .send((Instant::now() + delay, buffer.freeze()))
                .await
                .is_err()
            {
                return Ok(());
            }
        }
    };
    let (read, written): (io::Result<()>, io::Result<()>) = tokio::join!(reader, writer);
    read.and(written)
}

async fn write_in_time(
    mut to: OwnedWriteHalf,
    mut chunks: mpsc::Receiver<(Instant, Bytes)>,
) -> io::Result<()> {
    while let Some((due, chunk)) = chunks.recv().await {
        sleep_until(due).await;
        to.write_all(&chunk).await?;
    }
    to.shutdown().await
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::wait;

    #[tokio::test]
    async fn a_delayed_link_answers_late_and_a_healed_one_at_once() {
        let proxy = Proxy::start(echo().await).await;
        let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
        let delay = Duration::from_millis(100);
        proxy.delay(delay);
        let asked = Instant::now();
        ask(&mut client).await.unwrap();
        assert!(asked.elapsed() >= 2 * delay, "{:?}", asked.elapsed());
        proxy.heal();
        timeout(delay, ask(&mut client)).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_silent_link_holds_bytes_until_it_is_healed() {
        let proxy = Proxy::start(echo().await).await;
        let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
        ask(&mut client).await.unwrap();
        proxy.silence();
        timeout(Duration::from_millis(100), ask(&mut client))
            .await
            .unwrap_err();
        proxy.heal();
        assert_eq!(client.read_u8().await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_cut_ends_connections_and_a_closed_link_takes_none() {
        let proxy = Proxy::start(echo().await).await;
        let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
        ask(&mut client).await.unwrap();
        proxy.cut();
        client.read_u8().await.unwrap_err();
        ask(&mut TcpStream::connect(proxy.addr()).await.unwrap())
            .await
            .unwrap();
        proxy.close();
        let mut refused = TcpStream::connect(proxy.addr()).await.unwrap();
        refused.read_u8().await.unwrap_err();
        proxy.heal();
        wait::until("the link serves again", async || {
            ask(&mut TcpStream::connect(proxy.addr()).await?).await
        })
        .await;
    }

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mut from, mut to) = stream.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from, &mut to).await });
            }
        });
        addr
    }

    async fn ask(stream: &mut TcpStream) -> io::Result<()> {
        stream.write_u8(7).await?;
        assert_eq!(stream.read_u8().await?, 7);
        Ok(())
    }
}
