//! A schema registry for tests.

use std::net::SocketAddr;

use local::registry::{Config, Registry};
use tokio::sync::{Mutex, OnceCell};

use crate::guardian::{Farewell, Guardian};
use crate::{household, port};

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
    config: Config,
    /// `None` while it is down.
    registry: Mutex<Option<Registry>>,
    _guardian: Guardian,
}

impl Server {
    /// # Panics
    /// With the reason when it does not start.
    pub async fn start() -> Self {
        let guardian = Guardian::new(Farewell::Kill).expect("guard a folder");
        let config = Config {
            file: guardian.dir().join("registry"),
            listen: SocketAddr::from(([127, 0, 0, 1], port::free())),
        };
        let registry = Mutex::new(Some(run(config.clone()).await));
        Self {
            url: format!("http://{}", config.listen),
            config,
            registry,
            _guardian: guardian,
        }
    }

    /// The same over restarts.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops listening.
    pub async fn stop(&self) {
        let registry = self
            .registry
            .lock()
            .await
            .take()
            .expect("the registry runs");
        household::run(registry.stop()).await;
    }

    /// Forgets all schemas; only while it is stopped.
    pub async fn wipe(&self) {
        assert!(self.registry.lock().await.is_none(), "the registry runs");
        std::fs::remove_file(&self.config.file).expect("remove the registry's file");
    }

    /// Starts it again after [`Self::stop`].
    pub async fn restart(&self) {
        let mut registry = self.registry.lock().await;
        assert!(registry.is_none(), "the registry runs");
        *registry = Some(run(self.config.clone()).await);
    }
}

async fn run(config: Config) -> Registry {
    match household::run(Registry::start(config)).await {
        Ok(registry) => registry,
        Err(error) => panic!("start the local registry: {:#}", anyhow::Error::from(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn it_comes_back_at_its_url_with_its_schemas_unless_wiped() {
        let server = Server::start().await;
        let schema = r#"{"schema": "\"string\""}"#;
        let answer = ask(&server, "POST /subjects/s/versions", schema)
            .await
            .unwrap();
        assert!(answer.contains("200 OK"), "{answer}");
        server.stop().await;
        ask(&server, "GET /subjects", "").await.unwrap_err();
        server.restart().await;
        let answer = ask(&server, "GET /subjects", "").await.unwrap();
        assert!(answer.ends_with(r#"["s"]"#), "{answer}");
        server.stop().await;
        server.wipe().await;
        server.restart().await;
        let answer = ask(&server, "GET /subjects", "").await.unwrap();
        assert!(answer.ends_with("[]"), "{answer}");
    }

    async fn ask(server: &Server, request: &str, body: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(server.config.listen).await?;
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
}
