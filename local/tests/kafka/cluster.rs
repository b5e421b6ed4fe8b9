//! The one place that knows which cluster the tests run against.

use std::time::Duration;

use local::kafka::{Broker, Config};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::BaseConsumer;
use rdkafka::producer::FutureProducer;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// Far above what anything here takes; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

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
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        if let Ok(bootstrap) = std::env::var("TEST_KAFKA_BOOTSTRAP") {
            return Self {
                bootstrap,
                local: None,
                runtime,
            };
        }
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

    /// Ends the cluster in order, if it is this test's own.
    pub(crate) fn stop(self) {
        if let Some((broker, _directory)) = self.local {
            self.runtime.block_on(broker.stop()).unwrap();
        }
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

pub(crate) fn config(directory: &std::path::Path) -> Config {
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
