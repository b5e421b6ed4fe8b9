//! A console of a test's own.

use clap::{Args, FromArgMatches};
use operate::endpoints::{Database, Endpoints, MonitorUrl, Monitors, Names};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};
use service::{Monitor, Shutdown};
use testkit::{port, wait};

pub(crate) struct Running {
    pub(crate) url: String,
    pub(crate) client: Client,
    stop: Shutdown,
}

/// Its pipeline's parts are at ports where nobody listens.
fn endpoints() -> Endpoints {
    let away = port::free();
    let database = |name| -> Database {
        let dsn = format!("postgresql://ann@127.0.0.1:{away}/{name}");
        dsn.parse().expect("a connection string")
    };
    Endpoints {
        source: database("source"),
        target: database("target"),
        kafka: format!("127.0.0.1:{away}"),
        kafka_options: Vec::new(),
        registry: format!("http://127.0.0.1:{away}"),
        monitors: Monitors {
            capture: MonitorUrl::named(format!("http://127.0.0.1:{away}")),
            apply: MonitorUrl::named(format!("http://127.0.0.1:{away}")),
        },
        names: Names {
            prefix: "lockstep".into(),
            slot: "lockstep".into(),
            publication: "lockstep".into(),
            pipeline: "lockstep".into(),
        },
        differences: applier::Differences::default(),
    }
}

pub(crate) fn config(arguments: &[String]) -> console::Config {
    let command = console::Config::augment_args(clap::Command::new("test").no_binary_name(true));
    let matches = command.try_get_matches_from(arguments);
    console::Config::from_arg_matches(&matches.expect("settings")).expect("settings")
}

/// Runs until it refuses to.
pub(crate) async fn run(config: console::Config) -> Result<(), console::Error> {
    console::run(config, endpoints(), Monitor::new(), Shutdown::new()).await
}

impl Running {
    /// With these settings beside its port.
    pub(crate) async fn start(more: &[String]) -> Self {
        // Several tests of this process may be the first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let address = format!("127.0.0.1:{}", port::free());
        let mut arguments = vec![format!("--console-listen={address}")];
        arguments.extend_from_slice(more);
        let stop = Shutdown::new();
        let serving = console::run(
            config(&arguments),
            endpoints(),
            Monitor::new(),
            stop.clone(),
        );
        tokio::spawn(serving);
        let client = Client::builder().redirect(Policy::none()).build();
        let running = Self {
            url: format!("http://{address}"),
            client: client.expect("build a client"),
            stop,
        };
        wait::until("the console answers", async || {
            running.get("/healthz").send().await.map(|_| ())
        })
        .await;
        running
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url))
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.url))
    }

    pub(crate) async fn answer(&self, request: RequestBuilder) -> Response {
        request.send().await.expect("reach the console")
    }

    pub(crate) async fn sign_in(&self, name: &str, password: &str) -> Response {
        let form = format!("name={name}&password={password}&next=/replication");
        let request = self.post("/sign-in").body(form);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        self.answer(request).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.request();
    }
}
