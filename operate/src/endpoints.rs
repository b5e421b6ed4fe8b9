//! Where the parts of a pipeline are, and what they are called.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, anyhow};
use applier::Differences;
use service::KafkaOption;
use service::Secret;
use service::postgres::{Dsn, DsnError};

/// As settings name them; what is not named is looked up in the data directory of `lockstep up`.
#[derive(Clone, Debug, clap::Args)]
pub struct EndpointsConfig {
    /// Database whose changes are copied, as a libpq URL
    #[arg(long, global = true, env = "LOCKSTEP_SOURCE", value_name = "DSN")]
    source: Option<Database>,

    /// Database they are copied to, as a libpq URL
    #[arg(long, global = true, env = "LOCKSTEP_TARGET", value_name = "DSN")]
    target: Option<Database>,

    /// Kafka's bootstrap servers
    #[arg(long, global = true, env = "LOCKSTEP_KAFKA", value_name = "HOST:PORT")]
    kafka: Option<String>,

    /// A setting for the Kafka client, as librdkafka names it (security.protocol=SASL_SSL); repeatable
    #[arg(
        long,
        global = true,
        env = "LOCKSTEP_KAFKA_OPTION",
        value_name = "KEY=VALUE",
        value_delimiter = ';'
    )]
    kafka_option: Vec<KafkaOption>,

    /// Schema registry
    #[arg(long, global = true, env = "LOCKSTEP_REGISTRY", value_name = "URL")]
    registry: Option<String>,

    /// Capture's metrics port, for what only it knows [default: http://127.0.0.1:9101]
    #[arg(long, global = true, env = "LOCKSTEP_CDC_METRICS", value_name = "URL")]
    cdc_metrics: Option<String>,

    /// Apply's metrics port, for what only it knows [default: http://127.0.0.1:9102]
    #[arg(
        long,
        global = true,
        env = "LOCKSTEP_APPLIER_METRICS",
        value_name = "URL"
    )]
    applier_metrics: Option<String>,

    /// Where `lockstep up` keeps its data; what no setting names is taken from there
    #[arg(
        long,
        global = true,
        env = "LOCKSTEP_DATA",
        value_name = "DIR",
        default_value = ".lockstep"
    )]
    data: PathBuf,

    #[command(flatten)]
    names: Names,

    #[command(flatten)]
    differences: Differences,
}

/// What the pipeline's own things are called.
#[derive(Clone, Debug, clap::Args)]
pub struct Names {
    /// First part of the topics' names
    #[arg(
        long,
        global = true,
        env = "LOCKSTEP_PREFIX",
        default_value = "lockstep"
    )]
    pub prefix: String,

    /// Replication slot on the source
    #[arg(long, global = true, env = "LOCKSTEP_SLOT", default_value = "lockstep")]
    pub slot: String,

    /// Publication on the source
    #[arg(
        long,
        global = true,
        env = "LOCKSTEP_PUBLICATION",
        default_value = "lockstep"
    )]
    pub publication: String,

    /// Name of the progress on the target, and of the consumer group
    #[arg(
        long,
        global = true,
        env = "LOCKSTEP_PIPELINE",
        default_value = "lockstep"
    )]
    pub pipeline: String,
}

/// Where all four parts are.
#[derive(Clone, Debug)]
pub struct Endpoints {
    pub source: Database,
    pub target: Database,
    pub kafka: String,
    pub kafka_options: Vec<KafkaOption>,
    pub registry: String,
    pub monitors: Monitors,
    pub names: Names,
    /// As settings name them; where they name none, those count that apply works with
    /// ([`Differences::or_stored`]).
    pub differences: Differences,
}

/// Where capture and apply tell their metrics and health.
#[derive(Clone, Debug)]
pub struct Monitors {
    pub capture: MonitorUrl,
    pub apply: MonitorUrl,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorUrl {
    pub url: String,
    /// Whether somebody said so. Otherwise it is the usual place on this machine, and silence there
    /// says nothing.
    pub is_named: bool,
}

impl MonitorUrl {
    pub fn named(url: impl Into<String>) -> Self {
        Self {
            url: url.into().trim_end_matches('/').to_owned(),
            is_named: true,
        }
    }

    fn usual(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            is_named: false,
        }
    }
}

/// A database by its connection string, whose text is kept for those to whom it is handed on.
#[derive(Clone, Debug)]
pub struct Database {
    text: Secret,
    dsn: Dsn,
}

impl Database {
    /// May hold a password.
    pub fn text(&self) -> &str {
        self.text.expose()
    }
}

impl FromStr for Database {
    type Err = DsnError;

    fn from_str(text: &str) -> Result<Self, DsnError> {
        Ok(Self {
            text: Secret::new(text),
            dsn: text.parse()?,
        })
    }
}

impl Deref for Database {
    type Target = Dsn;

    fn deref(&self) -> &Dsn {
        &self.dsn
    }
}

/// The file in the data directory: a settings file, so that `--config` takes it too.
pub const FILE: &str = "endpoints.toml";

impl EndpointsConfig {
    /// # Errors
    /// When a part is named neither by a setting nor by a running `lockstep up`.
    pub fn resolve(self) -> anyhow::Result<Endpoints> {
        let file = Recorded::read(&self.data)?;
        let missing = |flag| {
            let data = self.data.display();
            anyhow!("{flag} is missing: name it, or start `lockstep up` with --data {data} first")
        };
        let dsn = |set: Option<Database>, key, flag| match set {
            Some(dsn) => Ok(dsn),
            None => file
                .dsn(key)
                .and_then(|recorded| recorded.ok_or_else(|| missing(flag))),
        };
        let text = |set: Option<String>, key, flag| {
            let recorded = || file.text(key).map(str::to_owned);
            set.or_else(recorded).ok_or_else(|| missing(flag))
        };
        let monitor = |set: Option<String>, key, usual| {
            let named = set.or_else(|| file.text(key).map(str::to_owned));
            named.map_or_else(|| MonitorUrl::usual(usual), MonitorUrl::named)
        };
        Ok(Endpoints {
            monitors: Monitors {
                capture: monitor(self.cdc_metrics, "cdc_metrics", "http://127.0.0.1:9101"),
                apply: monitor(
                    self.applier_metrics,
                    "applier_metrics",
                    "http://127.0.0.1:9102",
                ),
            },
            source: dsn(self.source, "source", "--source")?,
            target: dsn(self.target, "target", "--target")?,
            kafka: text(self.kafka, "kafka", "--kafka")?,
            kafka_options: self.kafka_option,
            registry: text(self.registry, "registry", "--registry")?,
            names: self.names,
            differences: self.differences,
        })
    }
}

/// What `lockstep up` wrote down.
struct Recorded(toml::Table);

impl Recorded {
    fn read(data: &Path) -> anyhow::Result<Self> {
        let path = data.join(FILE);
        if !path.exists() {
            return Ok(Self(toml::Table::new()));
        }
        let step = || format!("read {}", path.display());
        let text = fs::read_to_string(&path).with_context(step)?;
        Ok(Self(text.parse().with_context(step)?))
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(toml::Value::as_str)
    }

    fn dsn(&self, key: &str) -> anyhow::Result<Option<Database>> {
        let parsed = self.text(key).map(str::parse).transpose();
        parsed.with_context(|| format!("read {key} from {FILE}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(data: &Path) -> EndpointsConfig {
        EndpointsConfig {
            source: None,
            target: Some("postgresql://ann@db2/app".parse().unwrap()),
            kafka: None,
            kafka_option: Vec::new(),
            registry: None,
            cdc_metrics: None,
            applier_metrics: None,
            data: data.to_owned(),
            names: Names {
                prefix: "p".into(),
                slot: "s".into(),
                publication: "u".into(),
                pipeline: "l".into(),
            },
            differences: Differences::default(),
        }
    }

    #[test]
    fn what_no_setting_names_comes_from_the_data_directory() {
        let data = tempfile::tempdir().unwrap();
        let recorded = "source = 'host=db1 user=ann'\ntarget = 'host=other user=bob'\n\
                        kafka = '127.0.0.1:9092'\nregistry = 'http://127.0.0.1:8081'\n\
                        applier_metrics = 'http://127.0.0.1:7002/'\n";
        fs::write(data.path().join(FILE), recorded).unwrap();
        let endpoints = config(data.path()).resolve().unwrap();
        assert_eq!(endpoints.source.host(), "db1");
        assert_eq!(endpoints.target.host(), "db2");
        assert_eq!(endpoints.kafka, "127.0.0.1:9092");
        let apply = MonitorUrl::named("http://127.0.0.1:7002");
        assert_eq!(endpoints.monitors.apply, apply);
        assert!(!endpoints.monitors.capture.is_named);
    }

    #[test]
    fn what_nothing_names_is_asked_for() {
        let data = tempfile::tempdir().unwrap();
        let error = config(data.path()).resolve().unwrap_err().to_string();
        assert!(error.starts_with("--source is missing"), "{error}");
    }
}
