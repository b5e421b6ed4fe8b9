//! A running API with a database of its own.

use api::Config;
use clap::Parser;
use reqwest::{Method, Response, StatusCode, header};
use serde_json::{Value, json};
use service::{Monitor, Shutdown};
use testkit::postgres::Database;
use tokio::task::JoinHandle;

use crate::description;

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    config: Config,
}

pub(crate) struct Api {
    pub(crate) url: String,
    pub(crate) monitor: Monitor,
    pub(crate) client: reqwest::Client,
    pub(crate) shutdown: Shutdown,
    pub(crate) run: JoinHandle<Result<(), api::Error>>,
}

/// Settings as from the command line, with a free port unless one is given.
pub(crate) fn config(source: &str, flags: &[&str]) -> Config {
    let mut line = vec!["api", "--source", source];
    line.extend(flags);
    CommandLine::try_parse_from(line).unwrap().config
}

impl Api {
    /// Starts the API and waits until it is ready.
    pub(crate) async fn start(database: &Database, flags: &[&str]) -> Self {
        let api = Self::start_unready(database.dsn(), flags);
        api.ready().await;
        api
    }

    pub(crate) fn start_unready(source: &str, flags: &[&str]) -> Self {
        let mut config = config(source, flags);
        let port = testkit::port::free();
        config.api_listen.set_port(port);
        let (monitor, shutdown) = (Monitor::new(), Shutdown::new());
        let run = tokio::spawn(api::run(config, monitor.clone(), shutdown.clone()));
        // The client wants a provider even where it speaks no TLS; another test may have set it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            url: format!("http://127.0.0.1:{port}"),
            monitor,
            client: reqwest::Client::new(),
            shutdown,
            run,
        }
    }

    pub(crate) async fn ready(&self) {
        testkit::wait::until("the API is ready", async || {
            let answer = self
                .client
                .get(self.at("/api/v1/health/ready"))
                .send()
                .await;
            match answer {
                Ok(answer) if answer.status() == StatusCode::OK => Ok(()),
                answer => Err(format!("{answer:?}")),
            }
        })
        .await;
    }

    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.client.request(method, self.at(path))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(self.request("GET", path).send().await.unwrap()).await
    }

    /// Null stands for no body.
    pub(crate) async fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.send_with(&[], method, path, body).await
    }

    pub(crate) async fn send_with(
        &self,
        headers: &[(&str, &str)],
        method: &str,
        path: &str,
        body: &Value,
    ) -> Answer {
        let mut request = self.request(method, path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_null() {
            request = request.json(body);
        }
        answer(request.send().await.unwrap()).await
    }

    pub(crate) async fn send_if(
        &self,
        etag: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Answer {
        self.send_with(&[("if-match", etag)], method, path, body)
            .await
    }

    /// Creates an article and returns it.
    pub(crate) async fn create(&self, body: &Value) -> Value {
        let created = self.send("POST", "/api/v1/articles", body).await;
        assert_eq!(created.status, 201, "{}", created.body);
        created.body
    }

    /// Stops in order.
    pub(crate) async fn stop(self) {
        self.shutdown.request();
        self.run.await.unwrap().unwrap();
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: header::HeaderMap,
    /// Null when it is no JSON.
    pub(crate) body: Value,
    pub(crate) text: String,
}

pub(crate) async fn answer(response: Response) -> Answer {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    description::check(response.url().path(), status, &headers);
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or_default();
    Answer {
        status,
        headers,
        body,
        text,
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default()
    }

    /// Checks that it is a problem with everything that problems have.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, slug: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["type"], format!("/problems/{slug}"));
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["request_id"], self.header("x-request-id"));
        for member in ["title", "detail", "instance"] {
            assert!(self.body[member].is_string(), "{member}: {}", self.text);
        }
    }
}

pub(crate) fn draft(title: &str) -> Value {
    json!({"title": title, "content": "Text.", "author": "Ann", "tags": ["a", "b"]})
}
