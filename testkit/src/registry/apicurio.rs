//! One node of Apicurio Registry, from its Maven artifact and the installed Java. It has
//! Confluent's API under a path, with differences of its own.

use std::env;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::ask;
use crate::port;
use crate::process::{Launch, Process};
use crate::wait;

/// The newest release that runs on Java 17, which Debian 12 has.
const VERSION: &str = "3.0.9";

/// Where Confluent's API is.
const PATH: &str = "/apis/ccompat/v7";

/// The database, in the folder of the process. H2 writes to it a moment after it has answered, so
/// that only a node that was not killed has all at its next start.
const DATABASE: &str = "registry.mv.db";

#[derive(Debug)]
pub(super) struct Node {
    process: Process,
    addr: SocketAddr,
}

impl Node {
    /// # Panics
    /// With the reason when it does not start.
    pub(super) async fn start() -> Self {
        // Maven may have to fetch first.
        let fetched = tokio::task::spawn_blocking(program).await;
        let program = fetched
            .expect("fetching does not panic")
            .unwrap_or_else(|error| panic!("start Apicurio Registry: {error:#}"));
        let addr = SocketAddr::from(([127, 0, 0, 1], port::free()));
        let args = [
            "-Xmx512m".to_owned(),
            "-XX:+UseSerialGC".to_owned(),
            "-XX:TieredStopAtLevel=1".to_owned(),
            format!("-Dquarkus.http.host={}", addr.ip()),
            format!("-Dquarkus.http.port={}", addr.port()),
            "-Dapicurio.datasource.url=jdbc:h2:file:./registry".to_owned(),
            "-jar".to_owned(),
            program.display().to_string(),
        ];
        let process = Process::start(Launch {
            name: "Apicurio Registry".to_owned(),
            program: PathBuf::from("java"),
            args: args.into(),
            env: Vec::new(),
        });
        let node = Self { process, addr };
        node.ready().await;
        node
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}{PATH}", self.addr)
    }

    pub(super) async fn stop(&mut self) {
        self.process.terminate().await;
    }

    pub(super) fn wipe(&self) {
        let database = self.process.dir().join(DATABASE);
        fs::remove_file(&database).expect("remove the database of a registry that is down");
    }

    pub(super) async fn restart(&mut self) {
        self.process.restart();
        self.ready().await;
    }

    /// Waits until it answers, and gives it the level that Confluent's registry has from the start.
    async fn ready(&self) {
        let request = format!("PUT {PATH}/config");
        let level = r#"{"compatibility":"BACKWARD"}"#;
        wait::until("Apicurio Registry answers", async || {
            match ask(self.addr, &request, level).await {
                Ok(answer) if answer.starts_with("HTTP/1.1 200") => Ok(()),
                Ok(answer) => Err(answer),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }
}

/// The jar to run; fetched by Maven when it is not yet in the cache.
fn program() -> anyhow::Result<PathBuf> {
    let cache = cache();
    fs::create_dir_all(&cache).with_context(|| format!("create {}", cache.display()))?;
    // Test processes may run at the same time.
    let lock = File::create(cache.join("apicurio.lock")).context("create the cache's lock")?;
    lock.lock().context("lock the cache")?;
    let complete = cache.join(format!("apicurio-{VERSION}"));
    let jar = complete.join(format!("apicurio-registry-app-{VERSION}-runner.jar"));
    if !jar.exists() {
        fetch(&cache, &complete)?;
    }
    Ok(jar)
}

fn fetch(cache: &Path, complete: &Path) -> anyhow::Result<()> {
    let partial = cache.join("apicurio.new");
    for stale in [partial.as_path(), complete] {
        if stale.exists() {
            fs::remove_dir_all(stale).with_context(|| format!("remove {}", stale.display()))?;
        }
    }
    fs::create_dir(&partial).context("create a folder for Apicurio Registry")?;
    let mut mvn = Command::new("mvn");
    mvn.args(["-B", "-q", "dependency:copy"])
        .arg(format!(
            "-Dartifact=io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
        ))
        .arg(format!("-DoutputDirectory={}", partial.display()))
        // Not a project that happens to lie around the tests.
        .current_dir(&partial);
    run(&mut mvn)?;
    let archive = format!("apicurio-registry-app-{VERSION}-all.tar.gz");
    let mut tar = Command::new("tar");
    run(tar.args(["-xzf", &archive]).current_dir(&partial))?;
    fs::remove_file(partial.join(archive)).context("remove the archive")?;
    fs::rename(&partial, complete).context("move Apicurio Registry into place")
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_owned();
    let name = name.display();
    let output = command
        .output()
        .with_context(|| format!("run {name}; install the Debian package `maven`"))?;
    ensure!(
        output.status.success(),
        "{name} could not fetch Apicurio Registry ({}): {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
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
