//! `lockstep cdc` and `lockstep applier` as two processes between two databases.

use testkit::postgres::{Connection, Database, database};
use testkit::process::Process;
use testkit::{kafka, name, port, registry, wait};

use crate::command::{self, Ran};

pub(crate) struct Pipeline {
    pub(crate) source: Database,
    pub(crate) target: Database,
    /// The flags of the commands that look at all of it.
    flags: Vec<String>,
    name: String,
}

impl Pipeline {
    /// Two empty databases, and a name for everything else.
    pub(crate) async fn new() -> Self {
        Self::between(database().await, database().await).await
    }

    pub(crate) async fn between(source: Database, target: Database) -> Self {
        let name = name::unique();
        let flags = [
            ("source", source.dsn()),
            ("target", target.dsn()),
            ("kafka", kafka::bootstrap().await),
            ("registry", registry::url().await),
            ("prefix", &name),
            ("slot", &name),
            ("publication", &name),
            ("pipeline", &name),
        ];
        Self {
            flags: flags
                .iter()
                .map(|(flag, value)| format!("--{flag}={value}"))
                .collect(),
            source,
            target,
            name,
        }
    }

    /// With another registry from now on.
    pub(crate) fn with_registry(mut self, url: &str) -> Self {
        let flag = "--registry=";
        self.flags.retain(|it| !it.starts_with(flag));
        self.flags.push(format!("{flag}{url}"));
        self
    }

    pub(crate) fn cdc(&self) -> Process {
        self.cdc_with(&[])
    }

    pub(crate) fn cdc_with(&self, flags: &[&str]) -> Process {
        let mut arguments = self.chosen(&[
            "source",
            "kafka",
            "registry",
            "prefix",
            "slot",
            "publication",
        ]);
        arguments.insert(0, "cdc".to_owned());
        arguments.push("--heartbeat-seconds=1".to_owned());
        arguments.push(format!("--metrics-listen=127.0.0.1:{}", port::free()));
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        Process::start(command::launch("cdc", &borrowed(&arguments)))
    }

    pub(crate) fn applier(&self) -> Process {
        self.applier_with(&[])
    }

    pub(crate) fn applier_with(&self, flags: &[&str]) -> Process {
        let mut arguments = self.chosen(&["target", "kafka", "registry", "prefix", "pipeline"]);
        arguments.insert(0, "applier".to_owned());
        arguments.push(format!("--metrics-listen=127.0.0.1:{}", port::free()));
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        Process::start(command::launch("applier", &borrowed(&arguments)))
    }

    /// What its slot, publication, topics and progress are called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Starts a command that looks at the pipeline.
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        let mut all: Vec<&str> = arguments.to_vec();
        all.extend(self.flags.iter().map(String::as_str));
        Process::start(command::launch(arguments[0], &all))
    }

    /// Runs a command that looks at the pipeline, such as `verify`.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        let mut all: Vec<&str> = arguments.to_vec();
        all.extend(self.flags.iter().map(String::as_str));
        command::lockstep(&std::env::temp_dir(), &all).await
    }

    /// Waits until readers of the target see only states that the source had.
    pub(crate) async fn streaming(&self) {
        let target = self.target.client().await;
        let phase = "select phase from lockstep.progress where pipeline = $1";
        wait::until("the snapshot is complete", async || {
            // The table is made by the applier.
            let row = target.query_opt(phase, &[&self.name]).await;
            match row.map_err(|error| error.to_string())? {
                Some(row) if row.get::<_, &str>(0) == "streaming" => Ok(()),
                Some(row) => Err(row.get::<_, String>(0)),
                None => Err("no progress".to_owned()),
            }
        })
        .await;
    }

    /// Waits until apply has applied every commits record that is in the topic.
    pub(crate) async fn applied_all(&self) {
        let commits = format!("{}.commits", self.name);
        let last = kafka::records(kafka::bootstrap().await, &commits);
        let last = last.last().map(|record| record.offset);
        let target = self.target.client().await;
        let offset = "select commits_offset from lockstep.progress where pipeline = $1";
        wait::until("all that counts is applied", async || {
            let row = target.query_one(offset, &[&self.name]).await;
            match row.map_err(|error| error.to_string())?.get::<_, i64>(0) {
                applied if Some(applied) == last => Ok(()),
                applied => Err(format!("{applied} of {last:?}")),
            }
        })
        .await;
    }

    /// Waits until everything that the source committed by now is on the target.
    pub(crate) async fn caught_up(&self, source: &Connection, target: &Connection) {
        let end = "select (pg_current_wal_flush_lsn() - 1)::text";
        let lsn: String = source.query_one(end, &[]).await.expect("ask").get(0);
        let wait_for =
            "select lockstep.wait_for($1::text::pg_lsn, make_interval(secs => $3), $2)::text";
        let patience = wait::PATIENCE.as_secs_f64();
        let waited = target
            .query_one(wait_for, &[&lsn, &self.name, &patience])
            .await;
        waited.expect("the target catches up");
    }

    fn chosen(&self, names: &[&str]) -> Vec<String> {
        let wanted = |flag: &&String| {
            let name = flag.trim_start_matches("--").split('=').next();
            name.is_some_and(|name| names.contains(&name))
        };
        self.flags.iter().filter(wanted).cloned().collect()
    }
}

fn borrowed(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}
