//! `lockstep up` with ports and a folder of its own.

use std::path::PathBuf;

use testkit::port;
use testkit::postgres::{Connection, connect};
use testkit::process::Process;

use crate::command::{self, Ran};

/// Every port of the command, as flags.
pub(crate) fn ports() -> Vec<String> {
    [
        "source",
        "target",
        "kafka",
        "registry",
        "api",
        "replica",
        "gateway",
        "console",
        "cdc-metrics",
        "applier-metrics",
    ]
    .map(|name| format!("--{name}-port={}", port::free()))
    .to_vec()
}

pub(crate) struct Stack {
    pub(crate) process: Process,
    ports: Vec<String>,
}

impl Stack {
    pub(crate) fn start(more: &[&str]) -> Self {
        Self::start_with(more, &[])
    }

    /// With variables for what `up` has no flag for.
    pub(crate) fn start_with(more: &[&str], env: &[(&str, &str)]) -> Self {
        let ports = ports();
        // In the folder that the process works in, which goes with it.
        let mut arguments = vec!["up", "--data=data"];
        arguments.extend(ports.iter().map(String::as_str));
        arguments.extend(more);
        let mut launch = command::launch("up", &arguments);
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        launch.env.extend(env.iter().map(own));
        Self {
            process: Process::start(launch),
            ports,
        }
    }

    /// Waits until it has said so many times that it is ready.
    pub(crate) async fn ready(&self, times: usize) {
        testkit::wait::until("up is ready", async || {
            let output = self.process.output();
            match output.matches("\nready\n").count() {
                count if count == times => Ok(()),
                _ => Err(output),
            }
        })
        .await;
    }

    /// Runs another command in its folder, which needs to be told nothing.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        let mut all = arguments.to_vec();
        all.push("--data=data");
        command::lockstep(self.process.dir(), &all).await
    }

    /// Writes to the target what apply knows nothing of, as soon as apply has made the table.
    pub(crate) async fn write_beside_apply(&self, sql: &str) {
        let target = self.target().await;
        testkit::wait::until("a row is written beside apply", async || {
            let written = target.batch_execute(sql).await;
            written.map_err(|error| format!("{error:?}"))
        })
        .await;
    }

    pub(crate) fn api(&self) -> String {
        format!("http://127.0.0.1:{}", self.port("api"))
    }

    pub(crate) fn replica(&self) -> String {
        format!("http://127.0.0.1:{}", self.port("replica"))
    }

    pub(crate) fn graphql(&self) -> String {
        format!("http://127.0.0.1:{}/graphql", self.port("gateway"))
    }

    pub(crate) fn console(&self) -> String {
        format!("http://127.0.0.1:{}", self.port("console"))
    }

    pub(crate) fn kafka(&self) -> String {
        format!("127.0.0.1:{}", self.port("kafka"))
    }

    pub(crate) fn registry(&self) -> String {
        format!("http://127.0.0.1:{}", self.port("registry"))
    }

    pub(crate) async fn source(&self) -> Connection {
        self.database("source").await
    }

    pub(crate) async fn target(&self) -> Connection {
        self.database("target").await
    }

    async fn database(&self, name: &str) -> Connection {
        let port = self.port(name);
        let passfile = std::fs::read_to_string(self.data().join(name).join("pgpass"));
        let passfile = passfile.expect("read the superuser's passfile");
        let password = passfile.trim_end().rsplit(':').next().unwrap_or_default();
        let dsn = format!("postgresql://postgres:{password}@127.0.0.1:{port}/app");
        connect(&dsn).await.expect("connect to a database of up")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.process.dir().join("data")
    }

    pub(crate) fn port(&self, name: &str) -> &str {
        let flag = format!("--{name}-port=");
        let port = self.ports.iter().find_map(|it| it.strip_prefix(&flag));
        port.expect("a port of up")
    }
}
