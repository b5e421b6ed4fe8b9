//! A running gateway with a REST API and a database of its own.

use clap::Parser;
use reqwest::{Client, RequestBuilder, Response, header};
use serde_json::{Value, json};
use service::{Monitor, Shutdown};
use testkit::postgres::{Database, database};
use testkit::{port, wait};
use tokio::task::JoinHandle;

#[derive(Parser)]
struct GatewayLine {
    #[command(flatten)]
    config: gateway::Config,
}

#[derive(Parser)]
struct ApiLine {
    #[command(flatten)]
    config: api::Config,
}

/// Settings as from the command line.
pub(crate) fn config(flags: &[&str]) -> gateway::Config {
    let line = ["gateway"].iter().chain(flags);
    GatewayLine::try_parse_from(line).unwrap().config
}

/// A REST API that runs in this process.
pub(crate) struct Rest {
    pub(crate) url: String,
    pub(crate) database: Database,
    pub(crate) client: Client,
    port: u16,
    shutdown: Shutdown,
    run: JoinHandle<Result<(), api::Error>>,
}

impl Rest {
    pub(crate) async fn start(flags: &[&str]) -> Self {
        let port = port::free();
        Self::serve(database().await, port, flags).await
    }

    async fn serve(database: Database, port: u16, flags: &[&str]) -> Self {
        let listen = format!("--api-listen=127.0.0.1:{port}");
        let mut line = vec!["api", "--source", database.dsn(), &listen];
        line.extend(flags);
        let config = ApiLine::try_parse_from(line).unwrap().config;
        let shutdown = Shutdown::new();
        let run = tokio::spawn(api::run(config, Monitor::new(), shutdown.clone()));
        // The client wants a provider even where it speaks no TLS; another test may have set it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let rest = Self {
            url: format!("http://127.0.0.1:{port}"),
            database,
            client: Client::new(),
            port,
            shutdown,
            run,
        };
        ready(&rest.client, &format!("{}/api/v1/health/ready", rest.url)).await;
        rest
    }

    /// Stops, and lets it be started again on the same port.
    pub(crate) async fn stop(self) -> Stopped {
        self.shutdown.request();
        self.run.await.unwrap().unwrap();
        Stopped {
            database: self.database,
            port: self.port,
        }
    }

    /// What an endpoint of the articles answers.
    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let url = format!("{}/api/v1/articles{path}", self.url);
        let answer = self.client.get(url).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    pub(crate) async fn create(&self, title: &str) -> i64 {
        let url = format!("{}/api/v1/articles", self.url);
        let body = json!({"title": title, "content": "Text.", "author": "Ann", "tags": ["a"]});
        let answer = self.client.post(url).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        answer.json::<Value>().await.unwrap()["id"]
            .as_i64()
            .unwrap()
    }

    /// How many requests of a route it has answered, as its metrics count them.
    pub(crate) async fn answered(&self, route: &str, method: &str) -> u64 {
        let page = self
            .client
            .get(format!("{}/metrics", self.url))
            .send()
            .await;
        let page = page.unwrap().text().await.unwrap();
        let start = format!("http_requests_total{{method=\"{method}\",route=\"{route}\",");
        let lines = page.lines().filter(|line| line.starts_with(&start));
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    }
}

pub(crate) struct Stopped {
    database: Database,
    port: u16,
}

impl Stopped {
    pub(crate) async fn start(self) -> Rest {
        Rest::serve(self.database, self.port, &[]).await
    }
}

pub(crate) struct Gateway {
    pub(crate) url: String,
    pub(crate) client: Client,
    shutdown: Shutdown,
    run: JoinHandle<Result<(), gateway::Error>>,
}

impl Gateway {
    /// In front of a REST API.
    pub(crate) async fn start(rest: &str, flags: &[&str]) -> Self {
        let port = port::free();
        let listen = format!("--gateway-listen=127.0.0.1:{port}");
        let rest = format!("--gateway-rest={rest}");
        let mut line = vec![listen.as_str(), &rest];
        line.extend(flags);
        let config = config(&line);
        let shutdown = Shutdown::new();
        let run = tokio::spawn(gateway::run(config, Monitor::new(), shutdown.clone()));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let gateway = Self {
            url: format!("http://127.0.0.1:{port}"),
            client: Client::new(),
            shutdown,
            run,
        };
        ready(&gateway.client, &format!("{}/health/live", gateway.url)).await;
        gateway
    }

    /// Stops in order.
    pub(crate) async fn stop(self) {
        self.shutdown.request();
        self.run.await.unwrap().unwrap();
    }

    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub(crate) fn post(&self, body: &Value) -> RequestBuilder {
        self.client.post(self.at("/graphql")).json(body)
    }

    /// Runs an operation, and answers what came.
    pub(crate) async fn ask(&self, query: &str) -> Value {
        self.ask_with(query, json!({})).await
    }

    pub(crate) async fn ask_with(&self, query: &str, variables: Value) -> Value {
        let body = json!({"query": query, "variables": variables});
        let answer = answer(self.post(&body).send().await.unwrap()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.body
    }

    /// Runs an operation that has to succeed, and answers its data.
    pub(crate) async fn data(&self, query: &str, variables: Value) -> Value {
        let mut answer = self.ask_with(query, variables).await;
        assert_eq!(answer["errors"], Value::Null, "{query}: {answer}");
        answer["data"].take()
    }

    /// Runs an operation that has to fail, and answers the code of its first error.
    pub(crate) async fn code(&self, query: &str, variables: Value) -> String {
        let answer = self.ask_with(query, variables).await;
        code(&answer)
    }

    /// What its metrics say of a counter with these labels.
    pub(crate) async fn metric(&self, line: &str) -> u64 {
        let page = self.client.get(self.at("/metrics")).send().await.unwrap();
        let page = page.text().await.unwrap();
        let found = page
            .lines()
            .find_map(|it| it.strip_prefix(line)?.strip_prefix(' '));
        found.map_or(0, |value| value.parse().unwrap())
    }
}

#[track_caller]
pub(crate) fn code(answer: &Value) -> String {
    let code = answer["errors"][0]["extensions"]["code"].as_str();
    code.unwrap_or_else(|| panic!("no code: {answer}"))
        .to_owned()
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
        let value = self.headers.get(name).map(|value| value.to_str().unwrap());
        value.unwrap_or_default()
    }
}

async fn ready(client: &Client, url: &str) {
    wait::until("the service is ready", async || {
        match client.get(url).send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            answer => Err(format!("{answer:?}")),
        }
    })
    .await;
}
