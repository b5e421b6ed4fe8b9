//! A registry of its own for each test, and the shortest way to ask it something.

use std::path::Path;

use local::registry::{Config, Registry};
use reqwest::Method;
use serde_json::{Value, json};

/// A running registry with an HTTP client.
pub(crate) struct Client {
    pub(crate) registry: Registry,
    http: reqwest::Client,
    /// `None` when the file outlives the registry in the test's own directory.
    _directory: Option<tempfile::TempDir>,
}

pub(crate) async fn registry() -> Client {
    let directory = tempfile::tempdir().unwrap();
    let mut client = registry_on(&directory.path().join("registry.jsonl")).await;
    client._directory = Some(directory);
    client
}

pub(crate) async fn registry_on(file: &Path) -> Client {
    let config = Config {
        file: file.to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
    };
    let registry = Registry::start(config).await.unwrap();
    Client {
        registry,
        http: http_client(),
        _directory: None,
    }
}

pub(crate) fn http_client() -> reqwest::Client {
    // A second installation is refused, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

impl Client {
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.registry.addr())
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url()))
    }

    /// Sends a request and returns the status with the JSON answer.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap())
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> impl Future<Output = (u16, Value)> {
        self.send(Method::GET, path, None)
    }

    /// Registers schema text; answers with the id.
    pub(crate) async fn register(&self, subject: &str, schema: &str) -> u64 {
        let path = format!("/subjects/{subject}/versions");
        let (status, answer) = self
            .send(Method::POST, &path, Some(json!({ "schema": schema })))
            .await;
        assert_eq!(status, 200, "{answer}");
        answer["id"].as_u64().unwrap()
    }
}

/// The body of a request about this schema.
pub(crate) fn schema(text: &str) -> Option<Value> {
    Some(json!({ "schema": text }))
}

/// Asks and checks the status with the error code of the answer.
pub(crate) async fn refused(
    client: &Client,
    method: Method,
    path: &str,
    body: Option<Value>,
    code: u64,
) {
    let (status, answer) = client.send(method.clone(), path, body).await;
    assert_eq!(answer["error_code"], code, "{method} {path}: {answer}");
    let expected = if code > 999 { code / 100 } else { code };
    assert_eq!(u64::from(status), expected, "{method} {path}: {answer}");
    assert!(
        answer["message"]
            .as_str()
            .is_some_and(|message| !message.is_empty())
    );
}
