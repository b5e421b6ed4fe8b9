//! A schema registry for tests: the local one, or Apicurio Registry, of another maker, when
//! `LOCKSTEP_TEST_REGISTRY=apicurio`.
//!
//! Tests do not know which one it is; so the same suite shows that both do.

use std::env;
use std::io;
use std::net::SocketAddr;

use local::registry::{Config, Registry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, OnceCell};

use crate::guardian::{Farewell, Guardian};
use crate::{household, port};

mod apicurio;
mod front;

pub use front::{Front, Transport};

/// The URL of the registry that all tests of this process share. Subjects are a test's own by the
/// names of its topics.
///
/// # Panics
/// With the reason when it does not start.
pub async fn url() -> &'static str {
    static SHARED: OnceCell<Server> = OnceCell::const_new();
    SHARED.get_or_init(Server::start).await.url()
}

/// A registry of one test's own, which may be stopped or wiped. It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    url: String,
    node: Mutex<Node>,
}

#[derive(Debug)]
enum Node {
    Local(Local),
    Apicurio(apicurio::Node),
}

#[derive(Debug)]
struct Local {
    config: Config,
    /// `None` while it is down.
    registry: Option<Registry>,
    _guardian: Guardian,
}

impl Server {
    /// # Panics
    /// With the reason when it does not start.
    pub async fn start() -> Self {
        let wanted = env::var("LOCKSTEP_TEST_REGISTRY").unwrap_or_default();
        let (node, url) = match wanted.as_str() {
            "" | "local" => {
                let node = Local::start().await;
                let url = format!("http://{}", node.config.listen);
                (Node::Local(node), url)
            }
            "apicurio" => {
                let node = apicurio::Node::start().await;
                let url = node.url();
                (Node::Apicurio(node), url)
            }
            other => panic!("LOCKSTEP_TEST_REGISTRY is {other:?}: it may be local or apicurio"),
        };
        Self {
            url,
            node: Mutex::new(node),
        }
    }

    /// The same over restarts; it may have a path.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops listening.
    pub async fn stop(&self) {
        match &mut *self.node.lock().await {
            Node::Local(node) => {
                let registry = node.registry.take().expect("the registry runs");
                household::run(registry.stop()).await;
            }
            Node::Apicurio(node) => node.stop().await,
        }
    }

    /// Forgets all schemas; only while it is stopped.
    pub async fn wipe(&self) {
        match &*self.node.lock().await {
            Node::Local(node) => {
                assert!(node.registry.is_none(), "the registry runs");
                std::fs::remove_file(&node.config.file).expect("remove the registry's file");
            }
            Node::Apicurio(node) => node.wipe(),
        }
    }

    /// Starts it again after [`Self::stop`].
    pub async fn restart(&self) {
        match &mut *self.node.lock().await {
            Node::Local(node) => {
                assert!(node.registry.is_none(), "the registry runs");
                node.registry = Some(run(node.config.clone()).await);
            }
            Node::Apicurio(node) => node.restart().await,
        }
    }
}

impl Local {
    async fn start() -> Self {
        let guardian = Guardian::new(Farewell::Kill).expect("guard a folder");
        let config = Config {
            file: guardian.dir().join("registry"),
            listen: SocketAddr::from(([127, 0, 0, 1], port::free())),
        };
        Self {
            registry: Some(run(config.clone()).await),
            config,
            _guardian: guardian,
        }
    }
}

async fn run(config: Config) -> Registry {
    match household::run(Registry::start(config)).await {
        Ok(registry) => registry,
        Err(error) => panic!("start the local registry: {:#}", anyhow::Error::from(error)),
    }
}

/// One request, such as `GET /subjects`; the whole answer, head included.
async fn ask(addr: SocketAddr, request: &str, body: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(addr).await?;
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_comes_back_at_its_url_with_its_schemas_unless_wiped() {
        let server = Server::start().await;
        let schema = r#"{"schema": "\"string\""}"#;
        let answer = ask_it(&server, "POST /subjects/s/versions", schema)
            .await
            .unwrap();
        assert!(answer.contains("200 OK"), "{answer}");
        server.stop().await;
        ask_it(&server, "GET /subjects", "").await.unwrap_err();
        server.restart().await;
        let answer = ask_it(&server, "GET /subjects", "").await.unwrap();
        assert!(answer.ends_with(r#"["s"]"#), "{answer}");
        server.stop().await;
        server.wipe().await;
        server.restart().await;
        let answer = ask_it(&server, "GET /subjects", "").await.unwrap();
        assert!(answer.ends_with("[]"), "{answer}");
    }

    async fn ask_it(server: &Server, request: &str, body: &str) -> io::Result<String> {
        let address = server.url.trim_start_matches("http://");
        let (addr, path) = address.split_once('/').unwrap_or((address, ""));
        let path = if path.is_empty() {
            String::new()
        } else {
            format!("/{path}")
        };
        let request = request.replacen('/', &format!("{path}/"), 1);
        ask(addr.parse().unwrap(), &request, body).await
    }
}
