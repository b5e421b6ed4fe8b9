//! The one place that knows which cluster the tests run against.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use bytes::Bytes;
use local::kafka::{Broker, Config};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::BaseConsumer;
use rdkafka::producer::FutureProducer;
use tempfile::{NamedTempFile, TempDir};
use tokio::runtime::{Builder, Runtime};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

/// Far above what anything here takes; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a test prints that runs on a local broker; `tools/kafka-outcomes` looks for it.
const ON_LOCAL: &str = "on the local broker";

/// A cluster, and what it takes to use it.
pub(crate) struct Cluster {
    bootstrap: String,
    local: Option<(Broker, TempDir)>,
    /// The broker's threads; not the test's, which blocks in the client.
    runtime: Runtime,
}

impl Cluster {
    /// The cluster under test: a local broker of this test's own, unless another is named.
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// `tune` has no say about a cluster that was started elsewhere.
    pub(crate) fn start_with(tune: impl FnOnce(&mut Config)) -> Self {
        match std::env::var("TEST_KAFKA_BOOTSTRAP") {
            Ok(bootstrap) => Self {
                bootstrap,
                local: None,
                runtime: runtime(),
            },
            Err(_) => Self::local(tune),
        }
    }

    /// A local broker, whatever the other tests run against.
    pub(crate) fn local(tune: impl FnOnce(&mut Config)) -> Self {
        println!("{ON_LOCAL}");
        let runtime = runtime();
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(directory.path());
        tune(&mut config);
        let broker = runtime.block_on(Broker::start(config)).unwrap();
        let bootstrap = broker.addr().to_string();
        Self {
            bootstrap,
            local: Some((broker, directory)),
            runtime,
        }
    }

    /// The same cluster for another thread, or for longer than whoever can stop it.
    pub(crate) fn beside(&self) -> Self {
        Self {
            bootstrap: self.bootstrap.clone(),
            local: None,
            runtime: runtime(),
        }
    }

    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Where a local broker keeps its data.
    pub(crate) fn data_dir(&self) -> &Path {
        self.local.as_ref().unwrap().1.path()
    }

    /// Ends the cluster in order, if it is this test's own.
    pub(crate) fn stop(self) {
        if let Some((broker, _directory)) = self.local {
            self.runtime.block_on(broker.stop()).unwrap();
        }
    }

    /// What the local broker answers to one request, by itself; an error when it takes too long.
    pub(crate) fn answer(&self, request: Bytes, limit: Duration) -> Result<Option<Bytes>, Elapsed> {
        let (broker, _) = self.local.as_ref().unwrap();
        self.wait(async { timeout(limit, broker.answer(request)).await })
    }

    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    pub(crate) fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }

    pub(crate) fn producer(&self, settings: &[(&str, &str)]) -> FutureProducer {
        let mut config = self.client();
        config
            .set("message.timeout.ms", "30000")
            .set("linger.ms", "0");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        config.create().unwrap()
    }

    pub(crate) fn consumer(&self, settings: &[(&str, &str)]) -> BaseConsumer {
        let mut config = self.client();
        config
            .set("group.id", unique("group"))
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "false");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        config.create().unwrap()
    }

    /// Creates a topic with a name of its own.
    pub(crate) fn topic(&self, partitions: i32, settings: &[(&str, &str)]) -> String {
        let name = unique("topic");
        let mut topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        for (name, value) in settings {
            topic = topic.set(name, value);
        }
        let created = self.wait(self.admin().create_topics([&topic], &AdminOptions::new()));
        assert_eq!(created.unwrap(), [Ok(name.clone())]);
        name
    }
}

/// A local broker that stops in order and starts again, on the same port.
pub(crate) struct Restarting {
    cluster: Option<Cluster>,
}

impl Restarting {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// `tune` holds until the restart.
    pub(crate) fn start_with(tune: impl FnOnce(&mut Config)) -> Self {
        Self {
            cluster: Some(Cluster::local(tune)),
        }
    }

    pub(crate) fn now(&self) -> &Cluster {
        self.cluster.as_ref().unwrap()
    }

    pub(crate) fn restart(&mut self) {
        self.restart_after(|_| {});
    }

    /// `change` may do something to the data directory while no broker uses it.
    pub(crate) fn restart_after(&mut self, change: impl FnOnce(&Path)) {
        let Cluster {
            bootstrap,
            local,
            runtime,
        } = self.cluster.take().unwrap();
        let (broker, directory) = local.unwrap();
        let address = broker.addr();
        runtime.block_on(broker.stop()).unwrap();
        change(directory.path());
        let mut config = config(directory.path());
        config.listen = address;
        let broker = runtime.block_on(Broker::start(config)).unwrap();
        self.cluster = Some(Cluster {
            bootstrap,
            local: Some((broker, directory)),
            runtime,
        });
    }
}

/// A local broker in a process of its own, which can be killed.
pub(crate) struct Process {
    launch: Launch,
    log: NamedTempFile,
    child: Child,
    cluster: Cluster,
    /// Removed with the process.
    temporary: Option<TempDir>,
}

/// How a broker's process is started.
pub(crate) struct Launch {
    /// A program that runs the broker, with its arguments; may be empty.
    pub(crate) through: Vec<String>,
    pub(crate) directory: PathBuf,
    /// As the program takes them.
    pub(crate) settings: Vec<String>,
}

impl Process {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(settings: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let launch = Launch {
            through: Vec::new(),
            directory: directory.path().to_owned(),
            settings: settings
                .iter()
                .map(|setting| (*setting).to_owned())
                .collect(),
        };
        let mut process = Self::launch(launch);
        process.temporary = Some(directory);
        process
    }

    pub(crate) fn launch(launch: Launch) -> Self {
        println!("{ON_LOCAL}");
        let log = NamedTempFile::new().unwrap();
        let (child, bootstrap) = launch.run("127.0.0.1:0", &log);
        Self {
            launch,
            log,
            child,
            cluster: Cluster {
                bootstrap,
                local: None,
                runtime: runtime(),
            },
            temporary: None,
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        match &self.temporary {
            Some(temporary) => temporary.path(),
            None => &self.launch.directory,
        }
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process without warning, as SIGKILL does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        let address = &self.cluster.bootstrap;
        self.child = self.launch.run(address, &self.log).0;
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// What becomes of a second process on the same directory.
    pub(crate) fn second(&self) -> Output {
        Command::new(PROGRAM)
            .arg(&self.launch.directory)
            .arg("127.0.0.1:0")
            .output()
            .unwrap()
    }
}

impl Launch {
    /// Starts the process and waits until it says where it serves.
    fn run(&self, listen: &str, log: &NamedTempFile) -> (Child, String) {
        let mut words = self.through.iter().map(String::as_str).chain([PROGRAM]);
        let mut command = Command::new(words.next().unwrap());
        let mut child = command
            .args(words)
            .arg(&self.directory)
            .arg(listen)
            .args(&self.settings)
            .stdout(Stdio::piped())
            .stderr(OpenOptions::new().append(true).open(log).unwrap())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut address)
            .unwrap();
        assert!(!address.is_empty(), "the broker did not start");
        (child, address.trim().to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("{}", self.log());
        }
    }
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_local-kafka");

fn runtime() -> Runtime {
    // The broker's log, shown with what a failed test printed.
    let _ = tracing_subscriber::fmt()
        .with_env_filter("warn,local=info")
        .with_test_writer()
        .try_init();
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

pub(crate) fn config(directory: &Path) -> Config {
    let mut config = Config::new(directory);
    config.listen.set_port(0);
    config
}

/// A name that no other test and no earlier run uses.
pub(crate) fn unique(what: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{what}-{}-{number}", now.as_nanos())
}
