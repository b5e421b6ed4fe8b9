//! A Kafka for tests: the local broker, or Apache Kafka itself when `LOCKSTEP_TEST_KAFKA=apache`.
//!
//! Tests do not know which one it is; so the same suite shows that both do.

use std::env;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::sync::{Mutex, OnceCell};

use crate::wait;

mod apache;
use apache::Jvm;

mod local;
mod records;

pub use records::{Record, records};

/// `host:port` of the broker that all tests of this process share. Topics and groups are a test's
/// own by their names ([`crate::name::unique`]); topics are not created by using them.
///
/// # Panics
/// With the reason when the broker does not start.
pub async fn bootstrap() -> &'static str {
    static SHARED: OnceCell<Server> = OnceCell::const_new();
    SHARED.get_or_init(Server::start).await.bootstrap()
}

/// A broker of one test's own, which may be killed. It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    bootstrap: String,
    node: Mutex<Node>,
}

#[derive(Debug)]
enum Node {
    Local(Box<local::Node>),
    Apache(apache::Node),
}

/// How topics come to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// By asking for it only, so that what forgot to ask is noticed.
    Explicit,
    /// Also by using them, where the client allows that; it is Kafka's default.
    ByUse,
}

impl Server {
    /// # Panics
    /// With the reason when the broker does not start.
    pub async fn start() -> Self {
        Self::start_with(Creation::Explicit).await
    }

    /// # Panics
    /// As [`Self::start`].
    pub async fn start_with(creation: Creation) -> Self {
        let wanted = env::var("LOCKSTEP_TEST_KAFKA").unwrap_or_default();
        let started = match wanted.as_str() {
            "" | "local" => start_local(creation).await,
            "apache" => start_apache(creation, Jvm::Brief).await,
            other => panic!("LOCKSTEP_TEST_KAFKA is {other:?}: it may be local or apache"),
        };
        Self::of(started).await
    }

    /// Apache Kafka as it runs in earnest: for measurements.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn apache_in_earnest() -> Self {
        Self::of(start_apache(Creation::Explicit, Jvm::InEarnest).await).await
    }

    async fn of(started: anyhow::Result<(Node, u16)>) -> Self {
        let (node, port) = started.unwrap_or_else(|error| panic!("start a broker: {error:#}"));
        let server = Self {
            bootstrap: format!("127.0.0.1:{port}"),
            node: Mutex::new(node),
        };
        server.ready().await;
        server
    }

    /// `host:port`; the same over restarts.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The process that it runs in, if it is one of its own.
    pub async fn pid(&self) -> Option<u32> {
        match &*self.node.lock().await {
            Node::Local(_) => None,
            Node::Apache(node) => Some(node.pid()),
        }
    }

    /// Ends it as abruptly as can be: SIGKILL, or the end of its runtime in this process.
    pub async fn kill(&self) {
        match &mut *self.node.lock().await {
            Node::Local(node) => node.kill().await,
            Node::Apache(node) => node.kill(),
        }
    }

    /// Starts it again, on the same port and data.
    ///
    /// # Panics
    /// With the reason when it does not start.
    pub async fn restart(&self) {
        match &mut *self.node.lock().await {
            Node::Local(node) => node.restart().await.expect("restart the broker"),
            Node::Apache(node) => node.restart(),
        }
        self.ready().await;
    }

    /// Waits until clients are told of a broker.
    async fn ready(&self) {
        let bootstrap = self.bootstrap.clone();
        wait::until("the broker answers", async || {
            let bootstrap = bootstrap.clone();
            let asked = tokio::task::spawn_blocking(move || brokers(&bootstrap)).await;
            match asked.expect("asking does not panic") {
                Ok(0) => Err(format!("no broker yet: {}", self.output().await)),
                Ok(_) => Ok(()),
                Err(error) => Err(format!("{error}: {}", self.output().await)),
            }
        })
        .await;
    }

    async fn output(&self) -> String {
        match &*self.node.lock().await {
            Node::Apache(node) => node.output(),
            // It prints through tracing, as the test itself does.
            Node::Local(_) => String::new(),
        }
    }
}

async fn start_local(creation: Creation) -> anyhow::Result<(Node, u16)> {
    let node = local::Node::start(creation).await?;
    let port = node.port();
    Ok((Node::Local(Box::new(node)), port))
}

async fn start_apache(creation: Creation, jvm: Jvm) -> anyhow::Result<(Node, u16)> {
    // Maven may have to fetch first.
    let start = tokio::task::spawn_blocking(move || apache::Node::start(creation, jvm)).await;
    let node = start.expect("starting does not panic")?;
    let port = node.port();
    Ok((Node::Apache(node), port))
}

fn brokers(bootstrap: &str) -> Result<usize, rdkafka::error::KafkaError> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        // It is expected not to answer at first.
        .set("log_level", "0")
        .create()?;
    // Of one topic, whether there is such a one or not, rather than of all.
    let metadata = consumer.fetch_metadata(Some("any"), Duration::from_secs(2))?;
    Ok(metadata.brokers().len())
}
