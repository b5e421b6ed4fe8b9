//! One node of Apache Kafka, from its Maven artifacts and the installed Java.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use super::Creation;
use crate::port;
use crate::process::{Launch, Process};

const POM: &str = include_str!("pom.xml");

/// A broker that is its own controller (KRaft).
#[derive(Debug)]
pub(super) struct Node {
    process: Process,
    port: u16,
}

/// How the Java machine is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Jvm {
    /// It starts quickly, takes little memory, and never gets fast.
    Brief,
    /// As Kafka's own `kafka-run-class.sh` has it, with the gigabyte of `kafka-server-start.sh`. The
    /// broker's properties stay those of tests.
    InEarnest,
}

impl Jvm {
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Brief => &["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"],
            Self::InEarnest => &[
                "-Xms1g",
                "-Xmx1g",
                "-server",
                "-XX:+UseG1GC",
                "-XX:MaxGCPauseMillis=20",
                "-XX:InitiatingHeapOccupancyPercent=35",
                "-XX:+ExplicitGCInvokesConcurrent",
            ],
        }
    }
}

impl Node {
    /// Formats a new log folder and starts the broker; it may not be ready yet.
    pub(super) fn start(creation: Creation, jvm: Jvm) -> anyhow::Result<Self> {
        let libraries = libraries()?;
        let (port, controller) = (port::free(), port::free());
        let java = |main: &str, args: &[&str]| -> Vec<String> {
            let mut all = jvm.options().to_vec();
            all.extend([
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                "-cp",
                &libraries,
                main,
            ]);
            all.extend(args);
            all.into_iter().map(str::to_owned).collect()
        };
        // Both in one process, as the folder to format comes with the process.
        let format = java(
            "kafka.tools.StorageTool",
            &["format", "-t", CLUSTER_ID, "-c", "$C"],
        );
        let serve = java("kafka.Kafka", &["$C"]);
        let script = format!(
            "C=$PWD/server.properties\n\
             if [ ! -e \"$C\" ]; then printf '%s' \"$PROPERTIES\" > \"$C\"; java {} > /dev/null || exit 1; fi\n\
             exec java {}",
            words(&format),
            words(&serve)
        );
        let process = Process::start(Launch {
            name: "Apache Kafka".to_owned(),
            program: PathBuf::from("/bin/sh"),
            args: vec!["-c".to_owned(), script],
            env: vec![(
                "PROPERTIES".to_owned(),
                properties(port, controller, creation),
            )],
        });
        Ok(Self { process, port })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(super) fn kill(&mut self) {
        self.process.kill_9();
    }

    pub(super) fn restart(&mut self) {
        self.process.restart();
    }

    pub(super) fn output(&self) -> String {
        self.process.output()
    }
}

/// Any 16 bytes, as URL-safe Base64 without padding.
const CLUSTER_ID: &str = "bG9ja3N0ZXAtdGVzdC1vbg";

/// One node takes every role, and has one copy of everything. Paths are relative to its folder. A
/// killed node may come back when its session has run out, so sessions are short; and tests do not wait
/// minutes for what happens from time to time.
fn properties(port: u16, controller: u16, creation: Creation) -> String {
    let auto_create = creation == Creation::ByUse;
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         log.dirs=log\n\
         broker.heartbeat.interval.ms=200\n\
         broker.session.timeout.ms=1500\n\
         auto.create.topics.enable={auto_create}\n\
         num.partitions=2\n\
         group.initial.rebalance.delay.ms=100\n\
         log.initial.task.delay.ms=500\n\
         log.retention.check.interval.ms=500\n\
         log.cleaner.backoff.ms=500\n\
         offsets.topic.num.partitions=4\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.num.partitions=4\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n"
    )
}

/// Quoted for the shell, but for `$C`.
fn words(args: &[String]) -> String {
    let word = |arg: &String| match arg.as_str() {
        "$C" => "\"$C\"".to_owned(),
        _ => format!("'{arg}'"),
    };
    args.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// The class path; fetched by Maven when it is not yet in the cache.
fn libraries() -> anyhow::Result<String> {
    let cache = cache();
    fs::create_dir_all(&cache).with_context(|| format!("create {}", cache.display()))?;
    // Test processes may run at the same time.
    let lock = File::create(cache.join("kafka.lock")).context("create the cache's lock")?;
    lock.lock().context("lock the cache")?;
    let complete = cache.join("kafka");
    let pom = complete.join("pom.xml");
    if !fs::read_to_string(&pom).is_ok_and(|text| text == POM) {
        fetch(&cache, &complete)?;
    }
    Ok(complete.join("*").display().to_string())
}

fn fetch(cache: &Path, complete: &Path) -> anyhow::Result<()> {
    let partial = cache.join("kafka.new");
    for stale in [&partial, &complete.to_owned()] {
        if stale.exists() {
            fs::remove_dir_all(stale).with_context(|| format!("remove {}", stale.display()))?;
        }
    }
    fs::create_dir(&partial).context("create a folder for the libraries")?;
    let pom = partial.join("pom.xml");
    fs::write(&pom, POM).context("write pom.xml")?;
    let mut mvn = Command::new("mvn");
    mvn.args(["-B", "-q", "dependency:copy-dependencies"])
        .arg("-f")
        .arg(&pom);
    mvn.arg(format!("-DoutputDirectory={}", partial.display()))
        .stdin(Stdio::null());
    let status = mvn
        .status()
        .context("run mvn; install the Debian package `maven`")?;
    ensure!(
        status.success(),
        "mvn could not fetch Apache Kafka ({status}); its output is above"
    );
    fs::rename(&partial, complete).context("move the libraries into place")
}

fn cache() -> PathBuf {
    let folder = |name| env::var_os(name).map(PathBuf::from);
    let target = || folder("CARGO_TARGET_DIR").map(|target| target.join("test-tools"));
    let here = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-tools");
    let cache = folder("LOCKSTEP_TEST_TOOLS")
        .or_else(target)
        .unwrap_or_else(here);
    std::path::absolute(&cache).unwrap_or(cache)
}
