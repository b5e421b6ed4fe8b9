//! Dead letters on their way into their topic, for who watches Kafka rather than the target.
//!
//! The table on the target is the truth: a letter is there in the transaction that set it aside, and
//! is marked when Kafka has acknowledged its record. Who dies between the two leaves it unmarked, and
//! it is written again: at least once, with its id. Apply only rings; it waits for nothing here.

use change::{Lsn, framing};
use futures_util::future::join_all;
use service::postgres::{Connection, connect};
use service::{Backoff, Health};
use tokio_postgres::Row;
use tokio_postgres::types::PgLsn;

use crate::bell::Bell;
use crate::config::Config;
use crate::decode;
use crate::error::{Error, RecordPlace, step};
use crate::kafka::{Letters, Original, Outgoing};

/// Letters that are read from the target at once.
const LETTERS: i64 = 100;
/// When so much waits for acknowledgement, no more is read.
const BYTES: usize = 8 << 20;

/// The first ones, those of one partition in its order.
const WAITING: &str = "select * from (select id, pipeline, table_schema, table_name, commit_lsn, \
    ordinal, topic, kafka_partition, kafka_offset, schema_id, op, error_class, sqlstate, \
    constraint_name, error, attempts from lockstep.dead_letters \
    where pipeline = $1 and published_at is null order by id limit $2) as waiting \
    order by topic, kafka_partition, kafka_offset";

const MARK: &str = "update lockstep.dead_letters set published_at = clock_timestamp() \
    where id = any ($1)";

/// Says why a letter is without its record's bytes.
const RECORD: &str = "lockstep.record";
const TOO_LONG: &str = "too long";

/// Publishes letters whenever the bell is rung.
pub(crate) async fn publish(config: Config, health: Health, bell: Bell) {
    loop {
        bell.rung().await;
        let mut backoff = Backoff::default();
        let mut is_told = false;
        while let Err(error) = drain(&config, &health).await {
            if !std::mem::replace(&mut is_told, true) {
                let topic = config.prefix.dead_letters();
                let error = service::chain(&error);
                tracing::warn!(
                    topic,
                    error,
                    "dead letters wait for their topic, trying again"
                );
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }
}

/// Publishes what waits, until nothing does.
async fn drain(config: &Config, health: &Health) -> Result<(), Error> {
    let target = connect(&config.target, "lockstep applier (dead letters)").await?;
    let mut kafka = None;
    loop {
        let waiting = target.query(WAITING, &[&config.pipeline, &LETTERS]).await;
        let waiting = waiting.map_err(step("read lockstep.dead_letters"))?;
        if waiting.is_empty() {
            return Ok(());
        }
        let kafka = match &mut kafka {
            Some(kafka) => kafka,
            none => none.insert(Letters::new(config, health)?),
        };
        let mut rest = waiting.as_slice();
        while !rest.is_empty() {
            rest = publish_some(&target, kafka, rest).await?;
        }
    }
}

/// Publishes the first letters, as many as may be held at once, and marks them; returns the others.
async fn publish_some<'a>(
    target: &Connection,
    kafka: &mut Letters,
    letters: &'a [Row],
) -> Result<&'a [Row], Error> {
    let mut outgoing = Vec::new();
    let mut bytes = 0;
    for letter in letters {
        let place = place(letter);
        let original = kafka.original(&place).await?;
        let original = original.filter(|original| is_of(original, letter));
        bytes += original.as_ref().map_or(0, Original::len);
        outgoing.push(self::outgoing(letter, original));
        if bytes >= BYTES {
            break;
        }
    }
    let (some, rest) = letters.split_at(outgoing.len());
    let outgoing = outgoing.into_iter();
    let published = outgoing.map(|letter| kafka.publish(letter, (RECORD, TOO_LONG)));
    let published = join_all(published).await;
    let acknowledged = some.iter().zip(&published);
    let acknowledged = acknowledged.filter(|(_, published)| published.is_ok());
    let ids: Vec<i64> = acknowledged.map(|(letter, _)| letter.get("id")).collect();
    let marked = target.execute(MARK, &[&ids]).await;
    marked.map_err(step("write lockstep.dead_letters"))?;
    published.into_iter().collect::<Result<(), Error>>()?;
    Ok(rest)
}

fn place(letter: &Row) -> RecordPlace {
    RecordPlace {
        topic: letter.get("topic"),
        partition: letter.get("kafka_partition"),
        offset: letter.get("kafka_offset"),
    }
}

/// Whether a record is the letter's, and not one of a topic that was made anew.
fn is_of(original: &Original, letter: &Row) -> bool {
    let value = original.value.as_deref().unwrap_or_default();
    let Some(head) = framing::split(value)
        .ok()
        .and_then(|(_, datum)| decode::head(datum).ok())
    else {
        return false;
    };
    let ordinal: i64 = letter.get("ordinal");
    head.position.commit_lsn == lsn(letter) && i64::try_from(head.position.ordinal) == Ok(ordinal)
}

/// Whether what stands at the letter's place is the first part of its record.
fn is_part(original: &Original, letter: &Row) -> bool {
    let value = original.value.as_deref().unwrap_or_default();
    let schema = framing::split(value).map(|(schema, _)| i64::from(schema.0));
    schema != Ok(letter.get::<_, i64>("schema_id"))
}

fn lsn(letter: &Row) -> Lsn {
    Lsn::new(u64::from(letter.get::<_, PgLsn>("commit_lsn")))
}

/// The names are those of Kafka Connect where it has one.
fn outgoing(letter: &Row, original: Option<Original>) -> Outgoing {
    let RecordPlace {
        topic,
        partition,
        offset,
    } = place(letter);
    let text = |column| letter.get::<_, String>(column);
    let mut headers = vec![
        ("__connect.errors.topic", topic),
        ("__connect.errors.partition", partition.to_string()),
        ("__connect.errors.offset", offset.to_string()),
        ("__connect.errors.connector.name", text("pipeline")),
        ("__connect.errors.exception.message", text("error")),
        ("lockstep.id", letter.get::<_, i64>("id").to_string()),
        ("lockstep.schema", text("table_schema")),
        ("lockstep.table", text("table_name")),
        ("lockstep.op", text("op")),
        ("lockstep.commit_lsn", lsn(letter).to_string()),
        (
            "lockstep.ordinal",
            letter.get::<_, i64>("ordinal").to_string(),
        ),
        ("lockstep.error_class", text("error_class")),
        (
            "lockstep.attempts",
            letter.get::<_, i32>("attempts").to_string(),
        ),
    ];
    for (name, column) in [
        ("lockstep.sqlstate", "sqlstate"),
        ("lockstep.constraint", "constraint_name"),
    ] {
        let value: Option<String> = letter.get(column);
        headers.extend(value.map(|value| (name, value)));
    }
    let Some(mut original) = original else {
        headers.push((RECORD, "gone".to_owned()));
        return Outgoing {
            original: Original::default(),
            headers,
        };
    };
    if is_part(&original, letter) {
        headers.push((RECORD, TOO_LONG.to_owned()));
        original.value = None;
    }
    Outgoing { original, headers }
}
