//! What is there before the first message.

use std::sync::Arc;

use change::commit::{CommitRecord, SCHEMA};
use change::envelope::{PART_SUBJECT, part_schema};
use change::framing::SchemaId;
use change::topic::value_subject;
use service::postgres::{Connection, connect};
use tokio_postgres::error::SqlState;

use super::first::kept;
use super::{Context, REGISTRY};
use crate::config::Config;
use crate::control::{self, VISIBLE, Visibility};
use crate::encode::{Encoder, Limit};
use crate::error::Error;
use crate::history;
use crate::kafka::{self, Kafka, TailReader, TopicSpec};
use crate::messages::Messages;
use crate::publication;
use crate::publish::{Chain, Identity};
use crate::registry::Registry;
use crate::schema_changes::SchemaChanges;
use crate::sequences::Sequences;
use crate::snapshot::Ledger;
use crate::source::{SlotName, SourceError, SystemIdentity};
use crate::tables::Tables;

/// What is made before the first message.
pub(super) struct Ground {
    pub(super) kafka: Arc<Kafka>,
    pub(super) tables: Tables,
    pub(super) client: Connection,
    pub(super) own_tables: control::Tables,
    pub(super) encoder: Arc<Encoder>,
    pub(super) schema_changes: SchemaChanges,
    pub(super) messages: Messages,
    pub(super) tails: TailReader,
    /// The commits topic, and the id of its records' schema.
    pub(super) topic: String,
    schema: SchemaId,
}

impl Ground {
    pub(super) async fn new(context: Context<'_>) -> Result<Self, Error> {
        let Context {
            config, monitor, ..
        } = context;
        let kafka = Arc::new(Kafka::new(config, &monitor.health)?);
        let topic = config.prefix.commits();
        let schema_changes = config.prefix.schema_changes();
        let messages = config.prefix.messages();
        let dead_letters = config.prefix.dead_letters();
        // Apply writes to the last one. All topics are made here, with the same settings.
        let dead_letters = TopicSpec {
            partitions: config.partitions,
            ..TopicSpec::in_order(&dead_letters, config)
        };
        let in_order = [&topic, &schema_changes, &messages];
        let in_order = in_order.map(|name| TopicSpec::in_order(name, config));
        let specs: Vec<_> = in_order.into_iter().chain([dead_letters]).collect();
        kafka.ensure_topics(&specs).await?;
        monitor.health.set(kafka::DEPENDENCY, Ok(()));
        let registry = Registry::new(&config.registry)?;
        let schema = registry.register(&value_subject(&topic), SCHEMA).await?;
        let schema_changes = SchemaChanges::open(config, &registry).await?;
        let messages = Messages::open(config, &registry).await?;
        let parts = registry.register(PART_SUBJECT, &part_schema()).await?;
        monitor.health.set(REGISTRY, Ok(()));
        let client = connect(&config.source, "lockstep cdc").await?;
        take_turn(&client, &config.slot).await?;
        publication::ensure(&client, &config.publication).await?;
        let limit = Limit {
            bytes_max: config.record_bytes_max,
            policy: config.large_records,
            schema: parts,
        };
        let encoder = Encoder::new(config.prefix.prefix(), config.source.dbname(), limit);
        Ok(Self {
            tables: Tables::new(config, registry, Arc::clone(&kafka)),
            tails: TailReader::new(&kafka)?,
            kafka,
            own_tables: control::ensure(&client).await?,
            client,
            encoder: Arc::new(encoder),
            schema_changes,
            messages,
            topic,
            schema,
        })
    }

    /// Which transactions the source shows.
    pub(super) async fn visibility(&self) -> Result<Visibility, Error> {
        let row = self.client.query_one(VISIBLE, &[]).await;
        let row = row.map_err(|source| Error::Query {
            step: "ask which transactions are shown",
            source,
        })?;
        Ok(row.get::<_, &str>(0).parse()?)
    }

    /// None where our role may not have one.
    pub(super) fn ledger<'a>(&'a self, config: &'a Config) -> Option<Ledger<'a>> {
        match self.own_tables {
            control::Tables::There => Some(Ledger {
                client: &self.client,
                slot: &config.slot,
            }),
            control::Tables::Missing => None,
        }
    }

    /// Continues the chain of commits records after `last`, with the next epoch.
    pub(super) fn chain(
        &self,
        context: Context<'_>,
        system: &SystemIdentity,
        last: Option<&CommitRecord>,
    ) -> Chain {
        let identity = Identity {
            pipeline: context.config.prefix.prefix().to_owned(),
            epoch: last.map_or(1, |last| last.epoch + 1),
            system_id: system.system_id.to_string(),
            timeline: system.timeline,
            slot: context.config.slot.to_string(),
        };
        Chain::new(
            Arc::clone(&self.kafka),
            self.topic.clone(),
            self.schema,
            identity,
            Sequences::new(&context.config.source, &context.config.publication),
            last,
            context.metrics.clone(),
        )
    }

    /// As [`Ground::chain`], for who has the slot: a writer that had it before may have commits
    /// records on their way to Kafka. Those that arrive before our fence count, and are what we go
    /// on after; those that arrive behind it do not, and the slot sends their transactions again.
    pub(super) async fn fenced_chain(
        &self,
        context: Context<'_>,
        system: &SystemIdentity,
    ) -> Result<Chain, Error> {
        let last = history::last(&self.tails, &self.topic, None).await?;
        let mut chain = self.chain(context, system, last.as_ref());
        if let Some(ledger) = self.ledger(context.config) {
            ledger.claim(chain.epoch()).await.map_err(kept)?;
        }
        if let Some(last) = last {
            let fence = chain.fence(&last).await?;
            let before = history::last(&self.tails, &self.topic, Some(fence)).await?;
            chain.follow(before.as_ref().unwrap_or(&last));
        }
        tracing::info!(epoch = chain.epoch(), commit_lsn = %chain.previous(), "publishing after");
        Ok(chain)
    }
}

/// Waits until no other capture of the slot is there, for a moment. The slot itself keeps others away
/// as long as it is read, which it is not while a first snapshot is copied.
async fn take_turn(client: &Connection, slot: &SlotName) -> Result<(), Error> {
    let step = "keep other captures of the slot away";
    let failed = |source| Error::Query { step, source };
    // As long as a predecessor that was killed may seem to be there.
    let limit = "set lock_timeout = '3s'";
    client.batch_execute(limit).await.map_err(failed)?;
    match client.execute(TURN, &[&slot.as_str()]).await {
        Ok(_) => {}
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            let holder = client.query_opt(HOLDER, &[&slot.as_str()]).await;
            return Err(Error::Source(SourceError::SlotTaken {
                slot: slot.clone(),
                pid: holder.map_err(failed)?.map(|row| row.get(0)),
            }));
        }
        Err(error) => return Err(failed(error)),
    }
    let no_limit = "reset lock_timeout";
    client.batch_execute(no_limit).await.map_err(failed)
}

/// Held until the session ends.
const TURN: &str = "select pg_advisory_lock(hashtextextended('lockstep capture ' || $1::text, 0))";

/// Who reads the slot, or else who has the lock. The key's halves are where `pg_locks` shows them.
const HOLDER: &str = "
select coalesce((select active_pid from pg_replication_slots where slot_name = $1::text), l.pid)
  from pg_locks l, hashtextextended('lockstep capture ' || $1::text, 0) as key
 where l.locktype = 'advisory' and l.granted and l.objsubid = 1
   and l.database = (select oid from pg_database where datname = current_database())
   and l.classid::bigint = (key >> 32) & 4294967295 and l.objid::bigint = key & 4294967295";
