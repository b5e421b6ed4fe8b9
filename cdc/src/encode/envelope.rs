//! The record around the rows.

use std::io::Write as _;

use change::avro::{write_bytes, write_long, write_str};
use change::envelope::{Head, MESSAGE_OP, Op};
use change::framing::{SchemaId, write_header};
use change::{Lsn, Position};

use super::limit::{self, Limit};
use super::plan::TablePlan;
use super::row::{self, Aside, EncodeError, Fields};
use super::steps::Step;
use crate::wire::Column;
use crate::wire::pgoutput::LogicalMessage;

/// What a record says besides its rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    pub epoch: i64,
    pub position: Position,
    /// Microseconds since 1970-01-01 UTC, by the source's clock.
    pub commit_time: i64,
    /// When the record is made: milliseconds since 1970-01-01 UTC, by our clock.
    pub now_ms: i64,
    pub origin: Origin,
}

/// Where a row comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    Snapshot,
    Transaction {
        xid: u32,
        order: Order,
    },
    /// A message that is of no transaction.
    Alone,
}

/// A change's place in its transaction, from 1 as Debezium counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub total: u64,
    pub in_collection: u64,
}

/// What stands in every record, and how long one may be.
#[derive(Clone, Debug)]
pub(crate) struct Encoder {
    /// `version`, `connector` and `name` of `source`, encoded.
    writer: Vec<u8>,
    database: String,
    pub limit: Limit,
}

/// A record's bytes, framed.
#[derive(Debug, Default)]
pub(crate) struct Record<'k> {
    /// None for a truncation, which is of no key.
    pub key: Option<&'k [u8]>,
    pub value: Vec<u8>,
}

impl Record<'_> {
    pub(crate) fn bytes(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.value.len()
    }
}

impl Meta {
    pub(crate) fn head(&self) -> Head {
        Head {
            epoch: self.epoch,
            position: self.position,
        }
    }
}

/// The rows of a record, encoded before its place is known.
pub(crate) struct Prepared<'a, 'p> {
    plan: &'p TablePlan,
    op: Op,
    key: Option<Vec<u8>>,
    rows: Vec<u8>,
    before: Aside<'a, 'p>,
    after: Aside<'a, 'p>,
}

/// Encodes the rows of `step`.
///
/// # Errors
/// When a row is not one of the plan's relation.
pub(crate) fn prepare<'a, 'p>(
    plan: &'p TablePlan,
    step: &Step<'a>,
) -> Result<Prepared<'a, 'p>, EncodeError> {
    let key = match step.keyed_row() {
        Some(row) => Some(key(plan, row)?),
        None => None,
    };
    let mut rows = Vec::with_capacity(step.room());
    let before = optional_row(plan, step.before.as_deref(), &mut rows)?;
    let after = optional_row(plan, step.after.as_deref(), &mut rows)?;
    Ok(Prepared {
        plan,
        op: step.op,
        key,
        rows,
        before,
        after,
    })
}

impl Prepared<'_, '_> {
    /// None for a truncation, which is of no key.
    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }
}

impl Encoder {
    pub(crate) fn new(pipeline: &str, database: &str, limit: Limit) -> Self {
        let mut writer = Vec::new();
        for name in [env!("CARGO_PKG_VERSION"), "lockstep", pipeline] {
            write_str(&mut writer, name);
        }
        Self {
            writer,
            database: database.to_owned(),
            limit,
        }
    }

    /// The record of rows that are encoded.
    ///
    /// # Errors
    /// When its place does not fit the envelope, or when it is refused for its length.
    pub(crate) fn encode<'k>(
        &self,
        prepared: &'k Prepared<'_, '_>,
        meta: &Meta,
    ) -> Result<Record<'k>, EncodeError> {
        let plan = prepared.plan;
        let mut value = framed(plan.schemas.value, prepared.rows.len() + HEAD_BYTES);
        lockstep(meta, &prepared.before, &prepared.after, &mut value)?;
        write_str(&mut value, prepared.op.code());
        value.extend_from_slice(&prepared.rows);
        let snapshot = match meta.origin {
            Origin::Snapshot => "true",
            // As Debezium calls what is read while the stream goes on.
            Origin::Transaction { .. } if prepared.op == Op::Read => "incremental",
            Origin::Transaction { .. } | Origin::Alone => "false",
        };
        let table = &plan.relation.table;
        self.source((&table.schema, &table.name), snapshot, meta, &mut value)?;
        rest(meta, &mut value)?;
        let record = Record {
            key: prepared.key.as_deref(),
            value,
        };
        self.limit
            .admit(&record, || limit::named(plan, record.key))?;
        Ok(record)
    }

    /// The record of a message. It is of no table, whose names are empty, as Debezium has it.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub(crate) fn message<'k>(
        &self,
        schema: SchemaId,
        key: &'k [u8],
        message: &LogicalMessage<'_>,
        meta: &Meta,
    ) -> Result<Record<'k>, EncodeError> {
        let mut value = framed(schema, message.content.len() + HEAD_BYTES);
        lockstep(meta, &Aside::default(), &Aside::default(), &mut value)?;
        write_str(&mut value, MESSAGE_OP);
        write_str(&mut value, message.prefix);
        write_bytes(&mut value, message.content);
        self.source(("", ""), "false", meta, &mut value)?;
        rest(meta, &mut value)?;
        let record = Record {
            key: Some(key),
            value,
        };
        self.limit
            .admit(&record, || format!("a message of {}", message.prefix))?;
        Ok(record)
    }

    fn source(
        &self,
        (schema, table): (&str, &str),
        snapshot: &str,
        meta: &Meta,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        out.extend_from_slice(&self.writer);
        write_long(out, meta.commit_time.div_euclid(1000));
        write_str(out, snapshot);
        write_str(out, &self.database);
        write_str(out, schema);
        write_str(out, table);
        match meta.origin {
            Origin::Transaction { xid, .. } => {
                write_long(out, 1);
                write_long(out, xid.into());
            }
            Origin::Snapshot | Origin::Alone => write_long(out, 0),
        }
        write_long(out, 1);
        write_long(out, signed(meta.position.commit_lsn.as_u64())?);
        Ok(())
    }
}

/// Room for all but the rows, so that a record of common size is written without growing.
const HEAD_BYTES: usize = 160;

/// The key of a row of `plan`, as its records have it.
///
/// # Errors
/// When the row is not one of the plan's relation.
pub(crate) fn key(plan: &TablePlan, row: &[Column<'_>]) -> Result<Vec<u8>, EncodeError> {
    let mut out = framed(plan.schemas.key, 32);
    let aside = row::encode(plan, row, Fields::Key, &mut out)?;
    if plan.exact_keys {
        map(&aside.exact, &mut out)?;
    }
    Ok(out)
}

fn framed(schema: SchemaId, room: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(room + change::framing::HEADER_BYTES);
    write_header(&mut out, schema);
    out
}

fn optional_row<'a, 'p>(
    plan: &'p TablePlan,
    row: Option<&[Column<'a>]>,
    out: &mut Vec<u8>,
) -> Result<Aside<'a, 'p>, EncodeError> {
    let Some(row) = row else {
        write_long(out, 0);
        return Ok(Aside::default());
    };
    write_long(out, 1);
    row::encode(plan, row, Fields::All, out)
}

fn lockstep(
    meta: &Meta,
    before: &Aside<'_, '_>,
    after: &Aside<'_, '_>,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    write_long(out, meta.epoch);
    write_long(out, signed(meta.position.commit_lsn.as_u64())?);
    write_long(out, signed(meta.position.ordinal)?);
    block(after.unchanged.len(), out)?;
    for name in &after.unchanged {
        write_str(out, name);
    }
    end_block(after.unchanged.len(), out);
    map(&after.exact, out)?;
    map(&before.exact, out)
}

/// `ts_ms` and `transaction`.
fn rest(meta: &Meta, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    write_long(out, 1);
    write_long(out, meta.now_ms);
    let Origin::Transaction { xid, order } = meta.origin else {
        write_long(out, 0);
        return Ok(());
    };
    write_long(out, 1);
    write_transaction_id(xid, meta.position.commit_lsn, out);
    write_long(out, signed(order.total)?);
    write_long(out, signed(order.in_collection)?);
    Ok(())
}

/// `xid:lsn`, as Debezium has it.
fn write_transaction_id(xid: u32, commit_lsn: Lsn, out: &mut Vec<u8>) {
    const LENGTH_MAX: usize = "4294967295:18446744073709551615".len();
    let mut text = [0; LENGTH_MAX];
    let mut rest = text.as_mut_slice();
    write!(rest, "{xid}:{}", commit_lsn.as_u64()).expect("it has room for both numbers");
    let length = LENGTH_MAX - rest.len();
    write_bytes(out, &text[..length]);
}

fn map(entries: &[(&str, &[u8])], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    block(entries.len(), out)?;
    for (name, image) in entries {
        write_str(out, name);
        write_bytes(out, image);
    }
    end_block(entries.len(), out);
    Ok(())
}

/// The count of a block; where it is zero it ends the array or map already.
fn block(items: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    write_long(out, i64::try_from(items).map_err(|_| EncodeError::Range)?);
    Ok(())
}

fn end_block(items: usize, out: &mut Vec<u8>) {
    if items > 0 {
        write_long(out, 0);
    }
}

fn signed(number: u64) -> Result<i64, EncodeError> {
    i64::try_from(number).map_err(|_| EncodeError::Range)
}
