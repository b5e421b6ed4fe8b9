//! What a record says.

use std::borrow::Cow;

use anyhow::Context;
use change::avro::Reader;
use change::commit::CommitRecord;
use change::envelope::{self, Envelope, Field, Head, Message, Op, Part};
use change::framing::{self, SchemaId};
use change::relation::{Column, Key, Relation};
use change::schema_change::{Definition, SchemaChange};
use change::value::{Mapping, Scalar};
use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Kind;
use super::index::Standing;
use super::page::Question;
use super::plans::{Holds, Plans};
use crate::kafka::RawRecord;

/// A record, decoded as far as it can be.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    /// The record's own time, which is that of its transaction's commit.
    pub time: Option<String>,
    /// Whether it counts; of changes only.
    #[serde(flatten)]
    pub standing: Option<Standing>,
    /// insert, update, delete, snapshot, truncate, tombstone, message; `part 1 of 3` of a record that is
    /// longer than one may be.
    pub operation: Option<Cow<'static, str>>,
    pub commit_lsn: Option<String>,
    pub ordinal: Option<u64>,
    pub epoch: Option<i64>,
    pub xid: Option<i64>,
    pub schema_id: Option<u32>,
    pub key_schema_id: Option<u32>,
    /// `id=7`; several columns with commas between.
    pub key: Option<String>,
    /// Columns that an update changed; none where the record does not tell what was before, which it
    /// does only under REPLICA IDENTITY FULL.
    pub changed: Option<Vec<String>>,
    /// Columns that an update did not touch and that stand out of line in the source: not sent.
    pub unchanged: Vec<String>,
    /// Columns whose values travelled as Postgres' image, beside the typed field.
    pub exact: Vec<String>,
    /// Columns whose values are shown as the hexadecimal digits of their image.
    pub images: Vec<String>,
    /// Columns whose values are longer than shown.
    pub cut: Vec<String>,
    /// By column. A column that is missing was not sent.
    pub before: Option<Map<String, Value>>,
    pub after: Option<Map<String, Value>>,
    /// The same, side by side, where that is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<Cell>,
    /// Of the commits topic.
    pub commit: Option<Commit>,
    pub headers: Map<String, Value>,
    /// Hexadecimal digits of the bytes, framing included, cut where they are many.
    pub key_hex: Option<String>,
    pub value_hex: Option<String>,
    pub value_bytes: usize,
    /// Why it could not be decoded.
    pub error: Option<String>,
}

/// A column of a change.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Cell {
    pub column: String,
    pub type_name: String,
    pub in_key: bool,
    pub before: Shown,
    pub after: Shown,
    pub changed: bool,
}

/// How a value is shown.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shown {
    /// There is no such row, or the source did not send the value.
    Absent,
    Null,
    Unchanged,
    Text {
        text: String,
        /// Whether `text` is the hexadecimal digits of an image.
        is_image: bool,
        exact: bool,
        /// The whole length in bytes, where it is cut.
        cut: Option<usize>,
    },
}

/// A commits record.
#[derive(Debug, Deserialize, Serialize)]
pub struct Commit {
    pub kind: Cow<'static, str>,
    pub previous_commit_lsn: String,
    pub commit_lsn: String,
    pub commit_time: Option<String>,
    pub epoch: i64,
    pub slot: String,
    pub timeline: u32,
    pub transactions: usize,
    /// The first of them: xid, LSN and number of changes.
    pub first_transactions: Vec<(u32, String, u64)>,
    pub records: u64,
    pub ranges: Vec<CommitRange>,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct CommitRange {
    pub topic: String,
    pub partition: i32,
    pub first_offset: i64,
    pub end_offset: i64,
    pub records: u64,
}

const TRANSACTIONS_SHOWN: usize = 100;

pub(super) async fn describe(
    raw: &RawRecord,
    standing: Option<Standing>,
    kind: &Kind,
    plans: &Plans,
    question: &Question,
) -> Record {
    let digits = |bytes: &[u8]| hex(&bytes[..bytes.len().min(question.raw_bytes_max)]);
    let mut record = Record {
        partition: raw.partition,
        offset: raw.offset,
        time: raw.time_ms.and_then(time_of_ms),
        standing,
        schema_id: raw.value.as_deref().and_then(schema_id),
        key_schema_id: raw.key.as_deref().and_then(schema_id),
        headers: headers(raw),
        key_hex: raw.key.as_deref().map(digits),
        value_hex: raw.value.as_deref().map(digits),
        value_bytes: raw.value.as_ref().map_or(0, Vec::len),
        ..Record::default()
    };
    let key = match kind {
        Kind::SchemaChanges => object_name(raw),
        Kind::Table(_) | Kind::Commits | Kind::Messages | Kind::Other => key_text(raw, plans).await,
    };
    let key = key.map(|key| record.key = key);
    let max = question.value_bytes_max;
    let told = match (&raw.value, kind) {
        (None, _) => {
            record.operation = Some("tombstone".into());
            Ok(())
        }
        (Some(value), Kind::Commits) => commit(value).map(|commit| record.commit = Some(commit)),
        (Some(value), Kind::SchemaChanges) => schema_change(value, &mut record),
        (Some(value), Kind::Messages) => message(value, plans, max, &mut record).await,
        (Some(value), Kind::Table(_) | Kind::Other) => change(value, plans, max, &mut record).await,
    };
    record.error = told.and(key).err().map(|error| format!("{error:#}"));
    record
}

/// Whether the record's key is `wanted`, as its text or its values alone. What cannot be read is not.
pub(super) async fn has_key(raw: &RawRecord, wanted: &str, plans: &Plans) -> bool {
    match key_values(raw, plans).await {
        Ok(Some(values)) => {
            let alone: Vec<&str> = values.iter().map(|(_, value)| value.as_str()).collect();
            alone.join(", ") == wanted || named(&values) == wanted
        }
        Ok(None) | Err(_) => false,
    }
}

async fn key_text(raw: &RawRecord, plans: &Plans) -> anyhow::Result<Option<String>> {
    let values = key_values(raw, plans).await?;
    Ok(values.map(|values| named(&values)))
}

fn named(values: &[(String, String)]) -> String {
    let named: Vec<String> = values
        .iter()
        .map(|(name, it)| format!("{name}={it}"))
        .collect();
    named.join(", ")
}

async fn key_values(
    raw: &RawRecord,
    plans: &Plans,
) -> anyhow::Result<Option<Vec<(String, String)>>> {
    let Some(bytes) = &raw.key else {
        return Ok(None);
    };
    let (id, datum) = framing::split(bytes).context("read the key")?;
    let columns = plans.key(id).await.context("read the key")?;
    let fields = envelope::key(&columns, datum).context("read the key")?;
    let columns = columns.columns.iter().zip(fields);
    let value = |((column, _), field): (&(Column, bool), Field)| {
        let text = match field.image() {
            None => "null".to_owned(),
            Some(image) => column.mapping.text(image).unwrap_or_else(|| hex(image)),
        };
        (column.name.clone(), text)
    };
    Ok(Some(columns.map(value).collect()))
}

/// The key of a schema change.
fn object_name(raw: &RawRecord) -> anyhow::Result<Option<String>> {
    let Some(bytes) = &raw.key else {
        return Ok(None);
    };
    let (_, datum) = framing::split(bytes).context("read the key")?;
    let name = Reader::new(datum).str().context("read the key")?;
    Ok(Some(name.to_owned()))
}

fn schema_change(value: &[u8], record: &mut Record) -> anyhow::Result<()> {
    let (_, datum) = framing::split(value)?;
    let change = SchemaChange::decode(datum)?;
    record.operation = Some(change.notice.tag.to_lowercase().into());
    let head = Head {
        epoch: change.epoch,
        position: change.position,
    };
    place(head, record);
    record.xid = Some(change.xid.into());
    let definition = |definition: &Option<Definition>| match serde_json::to_value(definition) {
        Ok(Value::Object(definition)) => Ok(Some(definition)),
        Ok(_) => Ok(None),
        Err(error) => Err(error),
    };
    record.before = definition(&change.notice.before)?;
    record.after = definition(&change.notice.after)?;
    Ok(())
}

/// Its content is shown as text where it is that.
async fn message(
    value: &[u8],
    plans: &Plans,
    max: usize,
    record: &mut Record,
) -> anyhow::Result<()> {
    let (id, datum) = framing::split(value)?;
    if let Holds::Parts = plans.holds(id).await? {
        return part(datum, record);
    }
    let message = Message::read(datum)?;
    record.operation = Some("message".into());
    place(message.head, record);
    record.xid = message.xid;
    let content = Field::Image(message.content);
    let cell = Cell {
        column: "content".to_owned(),
        type_name: "bytes".to_owned(),
        in_key: false,
        before: Shown::Absent,
        after: shown(Mapping::Scalar(Scalar::Text), Some(&content), max),
        changed: false,
    };
    note(&cell, record);
    if let Shown::Text { text, .. } = &cell.after {
        record.after = Some(Map::from_iter([(
            "content".to_owned(),
            text.as_str().into(),
        )]));
    }
    record.cells.push(cell);
    Ok(())
}

fn commit(value: &[u8]) -> anyhow::Result<Commit> {
    let (_, datum) = framing::split(value)?;
    let record = CommitRecord::decode(datum)?;
    let first = record.transactions.iter().take(TRANSACTIONS_SHOWN);
    Ok(Commit {
        kind: record.kind.name().into(),
        previous_commit_lsn: record.previous_commit_lsn.to_string(),
        commit_lsn: record.commit_lsn.to_string(),
        commit_time: time_of_ms(record.commit_time.div_euclid(1000)),
        epoch: record.epoch,
        timeline: record.timeline,
        transactions: record.transactions.len(),
        first_transactions: first
            .map(|it| (it.xid, it.commit_lsn.to_string(), it.changes))
            .collect(),
        records: record.records(),
        slot: record.slot,
        ranges: record
            .partitions
            .into_iter()
            .map(|range| CommitRange {
                topic: range.topic,
                partition: range.partition,
                first_offset: range.first_offset,
                end_offset: range.end_offset,
                records: range.records,
            })
            .collect(),
    })
}

async fn change(
    value: &[u8],
    plans: &Plans,
    max: usize,
    record: &mut Record,
) -> anyhow::Result<()> {
    let (id, datum) = framing::split(value)?;
    let meaning = || format!("find the meaning of schema {}", id.0);
    let relation = match plans.holds(id).await.with_context(meaning)? {
        Holds::Changes(relation) => relation,
        Holds::Parts => return part(datum, record),
        Holds::Other(error) => return Err(error).with_context(meaning),
    };
    let envelope = Envelope::read(&relation, datum)?;
    record.operation = Some(operation(envelope.op).into());
    place(envelope.head, record);
    record.xid = envelope.xid;
    tell(&relation, &envelope, max, record);
    Ok(())
}

/// A piece of a record, of which the first part has the place.
fn part(datum: &[u8], record: &mut Record) -> anyhow::Result<()> {
    let part = Part::read(datum)?;
    let number = format!("part {} of {}", part.part + 1, part.parts);
    record.operation = Some(number.into());
    place(part.head, record);
    Ok(())
}

fn place(head: Head, record: &mut Record) {
    record.commit_lsn = Some(head.position.commit_lsn.to_string());
    record.ordinal = Some(head.position.ordinal);
    record.epoch = Some(head.epoch);
}

fn operation(op: Op) -> &'static str {
    match op {
        Op::Create => "insert",
        Op::Update => "update",
        Op::Delete => "delete",
        Op::Read => "snapshot",
        Op::Truncate => "truncate",
    }
}

fn tell(relation: &Relation, envelope: &Envelope, max: usize, record: &mut Record) {
    let complete = envelope
        .before
        .as_deref()
        .is_some_and(|row| is_complete(relation, row));
    let is_update = envelope.op == Op::Update;
    let mut changed = Vec::new();
    let (mut before, mut after) = (Map::new(), Map::new());
    for (at, column) in relation.columns.iter().enumerate() {
        let told = complete || column.in_key;
        let old = envelope
            .before
            .as_ref()
            .map(|row| &row[at])
            .filter(|_| told);
        let new = envelope.after.as_ref().map(|row| &row[at]);
        let is_changed = match (old, new) {
            (Some(_), Some(Field::Unchanged)) => false,
            (Some(old), Some(new)) => is_update && old.image() != new.image(),
            _ => false,
        };
        let cell = Cell {
            column: column.name.clone(),
            type_name: column.pg_type.name.clone(),
            in_key: column.in_key,
            before: shown(column.mapping, old, max),
            after: shown(column.mapping, new, max),
            changed: is_changed,
        };
        if is_changed {
            changed.push(column.name.clone());
        }
        note(&cell, record);
        put(&mut before, column, &cell.before);
        put(&mut after, column, &cell.after);
        record.cells.push(cell);
    }
    record.before = envelope.before.as_ref().map(|_| before);
    record.after = envelope.after.as_ref().map(|_| after);
    // Without a complete row before, only a changed key is known.
    record.changed = (is_update && envelope.before.is_some()).then_some(changed);
}

/// Whether a row has what was in all of its columns. Otherwise it has its key alone, and the other
/// columns are null there whatever they were.
fn is_complete(relation: &Relation, row: &[Field]) -> bool {
    let mut others = relation.columns.iter().zip(row);
    relation.key == Key::WholeRow
        || others.any(|(column, field)| !column.in_key && *field != Field::Null)
}

fn shown(mapping: Mapping, field: Option<&Field>, max: usize) -> Shown {
    let (image, exact) = match field {
        None => return Shown::Absent,
        Some(Field::Null) => return Shown::Null,
        Some(Field::Unchanged) => return Shown::Unchanged,
        Some(Field::Image(image)) => (image, false),
        Some(Field::Exact(image)) => (image, true),
    };
    let text = mapping.text(image);
    let is_image = text.is_none();
    let mut text = text.unwrap_or_else(|| format!("\\x{}", hex(image)));
    let length = text.len();
    if length > max {
        let end = (0..=max).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
    }
    Shown::Text {
        cut: (length > max).then_some(length),
        text,
        is_image,
        exact,
    }
}

fn note(cell: &Cell, record: &mut Record) {
    let mut add = |list: fn(&mut Record) -> &mut Vec<String>, holds: &dyn Fn(&Shown) -> bool| {
        if holds(&cell.before) || holds(&cell.after) {
            list(record).push(cell.column.clone());
        }
    };
    add(|it| &mut it.unchanged, &|it| *it == Shown::Unchanged);
    add(|it| &mut it.exact, &|it| {
        matches!(it, Shown::Text { exact: true, .. })
    });
    add(|it| &mut it.images, &|it| {
        matches!(it, Shown::Text { is_image: true, .. })
    });
    add(|it| &mut it.cut, &|it| {
        matches!(it, Shown::Text { cut: Some(_), .. })
    });
}

fn put(row: &mut Map<String, Value>, column: &Column, shown: &Shown) {
    let value = match shown {
        Shown::Absent | Shown::Unchanged => return,
        Shown::Null => Value::Null,
        Shown::Text { text, .. } => json(column.mapping, text),
    };
    row.insert(column.name.clone(), value);
}

/// Whole numbers and truth values as JSON has them, everything else as the text that Postgres prints.
fn json(mapping: Mapping, text: &str) -> Value {
    match mapping {
        Mapping::Scalar(Scalar::Boolean) => Value::Bool(text == "t"),
        Mapping::Scalar(Scalar::Int2 | Scalar::Int4 | Scalar::Int8 | Scalar::Oid) => text
            .parse::<i64>()
            .map_or_else(|_| text.into(), Value::from),
        _ => text.into(),
    }
}

fn schema_id(bytes: &[u8]) -> Option<u32> {
    framing::split(bytes).ok().map(|(SchemaId(id), _)| id)
}

fn headers(raw: &RawRecord) -> Map<String, Value> {
    let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("\\x{}", hex(bytes)),
    };
    let headers = raw.headers.iter();
    headers
        .map(|(name, value)| (name.clone(), text(value).into()))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn time_of_ms(ms: i64) -> Option<String> {
    let time = DateTime::from_timestamp_millis(ms)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Millis, true))
}
