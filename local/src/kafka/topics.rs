//! Which topics exist. The journal is the truth: a directory that it does not name is removed at
//! the next start, a directory that it names and that is missing is made again, empty.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};
use uuid::Uuid;

use super::config::Config;
use super::journal::{Journal, Sync};
use super::log::{Partition, Settings, Trust};
use super::topic_config::{ConfigError, TopicConfig};

/// Partitions of one topic. A file handle or two and a directory each.
const PARTITIONS_MAX: i32 = 10_000;
/// Topics of one broker: far above what one machine is used for, and an end to what a client can
/// create by asking for names.
const TOPICS_MAX: usize = 20_000;
const NAME_LENGTH_MAX: usize = 249;
/// The directory's name must not exceed 255 bytes together with the id.
const DIRECTORY_NAME_PART: usize = 200;
/// Changes after which the journal is rewritten, if it is also several times what it describes.
const REWRITE_AFTER: u64 = 1000;

#[derive(Debug)]
pub(super) struct Topics {
    directory: PathBuf,
    config: Config,
    settings: Settings,
    by_name: RwLock<BTreeMap<String, Arc<Topic>>>,
    /// Taken for the length of a change, so that changes are in the journal in their order.
    journal: Mutex<Journal>,
}

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) id: Uuid,
    config: RwLock<Arc<TopicConfig>>,
    partitions: RwLock<Vec<Arc<Partition>>>,
}

/// Why a change to the topics is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum TopicError {
    #[error("topic {0} exists")]
    Exists(String),
    #[error("topic {0} does not exist")]
    Unknown(String),
    #[error("{0:?} is not a topic name: 1 to 249 of a-z A-Z 0-9 . _ -, and not . or ..")]
    Name(String),
    #[error("topic names {0} and {1} differ only in . and _, which metric names cannot tell apart")]
    Collision(String, String),
    #[error("a topic has 1 to {PARTITIONS_MAX} partitions")]
    Partitions,
    #[error("topic {name} has {current} partitions, so {wanted} would be no increase")]
    NoIncrease {
        name: String,
        current: i32,
        wanted: i32,
    },
    #[error("there are {TOPICS_MAX} topics, more are not created")]
    TooMany,
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("write topic")]
    Io(#[from] io::Error),
}

/// Whether a change is made or only checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Check,
    Change,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    Create {
        name: String,
        id: Uuid,
        partitions: i32,
        config: BTreeMap<String, String>,
    },
    Delete {
        id: Uuid,
    },
    Configure {
        id: Uuid,
        config: BTreeMap<String, String>,
    },
    Grow {
        id: Uuid,
        partitions: i32,
    },
}

impl Topic {
    pub(super) fn config(&self) -> Arc<TopicConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn partitions(&self) -> Vec<Arc<Partition>> {
        self.partitions
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn partition_count(&self) -> usize {
        self.partitions
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    pub(super) fn partition(&self, index: i32) -> Option<Arc<Partition>> {
        let partitions = self
            .partitions
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        partitions.get(usize::try_from(index).ok()?).cloned()
    }

    fn directory_name(&self) -> String {
        let Self { name, id, .. } = self;
        format!("{name:.DIRECTORY_NAME_PART$}-{}", id.simple())
    }
}

impl Topics {
    /// Opens all topics. Blocks while their logs are recovered.
    pub(super) fn open(
        data_dir: &Path,
        config: &Config,
        settings: &Settings,
        trust: Trust,
    ) -> io::Result<Self> {
        let directory = data_dir.join("topics");
        fs::create_dir_all(&directory)?;
        let (journal, records) = Journal::open(&data_dir.join("topics.journal"), Sync::EachChange)?;
        let mut known = BTreeMap::new();
        for record in records {
            replay(&mut known, serde_json::from_slice(&record)?);
        }
        let mut topics = Self {
            directory,
            config: config.clone(),
            settings: settings.clone(),
            by_name: RwLock::default(),
            journal: Mutex::new(journal),
        };
        let mut by_name = BTreeMap::new();
        for (id, described) in known {
            let topic = topics.open_topic(id, described, trust)?;
            by_name.insert(topic.name.clone(), Arc::new(topic));
        }
        topics.by_name = RwLock::new(by_name);
        topics.remove_strays()?;
        Ok(topics)
    }

    pub(super) fn named(&self, name: &str) -> Option<Arc<Topic>> {
        self.by_name
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    pub(super) fn with_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.all().into_iter().find(|topic| topic.id == id)
    }

    fn count(&self) -> usize {
        self.by_name
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Every topic, by name.
    pub(super) fn all(&self) -> Vec<Arc<Topic>> {
        self.by_name
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// Checks whether a topic could be created. `partitions` of `None` is the broker's default.
    pub(super) fn check_new(
        &self,
        name: &str,
        partitions: Option<i32>,
        set: BTreeMap<String, String>,
    ) -> Result<(i32, TopicConfig), TopicError> {
        check_name(name)?;
        if self.named(name).is_some() {
            return Err(TopicError::Exists(name.to_owned()));
        }
        let same_metric = |topic: &Arc<Topic>| metric_name(&topic.name) == metric_name(name);
        if let Some(other) = self.all().into_iter().find(same_metric) {
            return Err(TopicError::Collision(name.to_owned(), other.name.clone()));
        }
        if self.count() >= TOPICS_MAX {
            return Err(TopicError::TooMany);
        }
        let partitions = partitions.unwrap_or(self.config.default_partitions);
        if !(1..=PARTITIONS_MAX).contains(&partitions) {
            return Err(TopicError::Partitions);
        }
        Ok((partitions, TopicConfig::new(set, &self.config)?))
    }

    /// Creates a topic. It exists once this returns, after a crash too.
    pub(super) fn create(
        &self,
        name: &str,
        partitions: Option<i32>,
        set: BTreeMap<String, String>,
    ) -> Result<Arc<Topic>, TopicError> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let (partitions, _) = self.check_new(name, partitions, set.clone())?;
        let id = Uuid::new_v4();
        let described = Described {
            name: name.to_owned(),
            partitions,
            config: set.clone(),
        };
        // Files first: once the journal names the topic its partitions must open.
        let topic = Arc::new(self.open_topic(id, described, Trust::Forced)?);
        let change = Change::Create {
            name: name.to_owned(),
            id,
            partitions,
            config: set,
        };
        append(&mut journal, &change)?;
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        by_name.insert(name.to_owned(), Arc::clone(&topic));
        info!(topic = name, partitions, "created topic");
        Ok(topic)
    }

    pub(super) fn delete(&self, name: &str) -> Result<(), TopicError> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let topic = self
            .named(name)
            .ok_or_else(|| TopicError::Unknown(name.to_owned()))?;
        append(&mut journal, &Change::Delete { id: topic.id })?;
        self.by_name
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
        for partition in topic.partitions() {
            partition.delete();
        }
        let directory = self.directory.join(topic.directory_name());
        if let Err(cause) = fs::remove_dir_all(&directory) {
            warn!(path = %directory.display(), %cause, "files of a deleted topic stay until the next start");
        }
        info!(topic = name, "deleted topic");
        self.rewrite_when_long(&mut journal)?;
        Ok(())
    }

    /// Gives a topic so many partitions, unless only the check is wanted.
    pub(super) fn grow(&self, name: &str, wanted: i32, mode: Mode) -> Result<(), TopicError> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let topic = self
            .named(name)
            .ok_or_else(|| TopicError::Unknown(name.to_owned()))?;
        let current = i32::try_from(topic.partition_count()).unwrap_or(i32::MAX);
        if wanted <= current {
            return Err(TopicError::NoIncrease {
                name: name.to_owned(),
                current,
                wanted,
            });
        }
        if wanted > PARTITIONS_MAX {
            return Err(TopicError::Partitions);
        }
        if mode == Mode::Check {
            return Ok(());
        }
        // Files first, as for a new topic.
        let directory = self.directory.join(topic.directory_name());
        let added = (current..wanted).map(|index| self.open_partition(&directory, index));
        let added = added.collect::<io::Result<Vec<_>>>()?;
        let change = Change::Grow {
            id: topic.id,
            partitions: wanted,
        };
        append(&mut journal, &change)?;
        topic
            .partitions
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(added);
        info!(topic = name, partitions = wanted, "added partitions");
        self.rewrite_when_long(&mut journal)?;
        Ok(())
    }

    fn open_partition(&self, directory: &Path, index: i32) -> io::Result<Arc<Partition>> {
        let directory = directory.join(index.to_string());
        // What a crash has left of an earlier attempt counts for nothing.
        match fs::remove_dir_all(&directory) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
            _ => {}
        }
        Partition::open(&directory, Trust::Forced, &self.settings).map(Arc::new)
    }

    /// Changes what is set for a topic, unless only the check is wanted.
    pub(super) fn configure(
        &self,
        name: &str,
        change: impl FnOnce(&mut BTreeMap<String, String>) -> Result<(), ConfigError>,
        mode: Mode,
    ) -> Result<(), TopicError> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let topic = self
            .named(name)
            .ok_or_else(|| TopicError::Unknown(name.to_owned()))?;
        let mut set = topic.config().set.clone();
        change(&mut set)?;
        let config = TopicConfig::new(set.clone(), &self.config)?;
        if mode == Mode::Check {
            return Ok(());
        }
        append(
            &mut journal,
            &Change::Configure {
                id: topic.id,
                config: set,
            },
        )?;
        *topic.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        info!(topic = name, "changed the settings of a topic");
        self.rewrite_when_long(&mut journal)?;
        Ok(())
    }

    fn open_topic(&self, id: Uuid, described: Described, trust: Trust) -> io::Result<Topic> {
        let Described {
            name,
            partitions,
            config: set,
        } = described;
        // A setting that an older version took is dropped rather than keep all topics away.
        let config = TopicConfig::new(set, &self.config).or_else(|cause| {
            warn!(topic = name, %cause, "use default settings");
            TopicConfig::new(BTreeMap::new(), &self.config).map_err(io::Error::other)
        })?;
        let topic = Topic {
            name,
            id,
            config: RwLock::new(Arc::new(config)),
            partitions: RwLock::default(),
        };
        let directory = self.directory.join(topic.directory_name());
        let open = |index: i32| {
            Partition::open(&directory.join(index.to_string()), trust, &self.settings).map(Arc::new)
        };
        let partitions = (0..partitions).map(open).collect::<io::Result<Vec<_>>>()?;
        *topic
            .partitions
            .write()
            .unwrap_or_else(PoisonError::into_inner) = partitions;
        Ok(topic)
    }

    fn remove_strays(&self) -> io::Result<()> {
        let known: HashSet<_> = self
            .all()
            .iter()
            .map(|topic| topic.directory_name())
            .collect();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if !known.contains(&*entry.file_name().to_string_lossy()) {
                info!(path = %entry.path().display(), "remove files of a topic that is not there");
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    fn rewrite_when_long(&self, journal: &mut Journal) -> io::Result<()> {
        let topics = self.all();
        let described = u64::try_from(topics.len()).unwrap_or(u64::MAX);
        if journal.records() < REWRITE_AFTER.max(described.saturating_mul(4)) {
            return Ok(());
        }
        let creations = topics.iter().map(|topic| {
            serde_json::to_vec(&Change::Create {
                name: topic.name.clone(),
                id: topic.id,
                partitions: i32::try_from(topic.partition_count()).unwrap_or(i32::MAX),
                config: topic.config().set.clone(),
            })
        });
        journal.rewrite(&creations.collect::<Result<Vec<_>, _>>()?)
    }
}

/// A topic as the journal has it.
struct Described {
    name: String,
    partitions: i32,
    config: BTreeMap<String, String>,
}

fn replay(known: &mut BTreeMap<Uuid, Described>, change: Change) {
    match change {
        Change::Create {
            name,
            id,
            partitions,
            config,
        } => {
            known.insert(
                id,
                Described {
                    name,
                    partitions,
                    config,
                },
            );
        }
        Change::Delete { id } => {
            known.remove(&id);
        }
        Change::Grow { id, partitions } => {
            if let Some(described) = known.get_mut(&id) {
                described.partitions = partitions;
            }
        }
        Change::Configure { id, config } => {
            if let Some(described) = known.get_mut(&id) {
                described.config = config;
            }
        }
    }
}

fn append(journal: &mut Journal, change: &Change) -> io::Result<()> {
    journal.append(&serde_json::to_vec(change)?)
}

/// Kafka's rule for topic names (`org.apache.kafka.common.internals.Topic`).
pub(super) fn check_name(name: &str) -> Result<(), TopicError> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let holds = (1..=NAME_LENGTH_MAX).contains(&name.len())
        && name != "."
        && name != ".."
        && name.bytes().all(legal);
    if holds {
        Ok(())
    } else {
        Err(TopicError::Name(name.to_owned()))
    }
}

fn metric_name(name: &str) -> String {
    name.replace('.', "_")
}
