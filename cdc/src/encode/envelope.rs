//! The record around the rows.

use change::Position;
use change::avro::{write_bytes, write_long, write_str};
use change::envelope::Op;
use change::framing::{SchemaId, write_header};

use super::plan::TablePlan;
use super::row::{self, Aside, EncodeError, Fields};
use super::steps::Step;
use crate::wire::Column;

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
    Transaction { xid: u32, order: Order },
}

/// A change's place in its transaction, from 1 as Debezium counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub total: u64,
    pub in_table: u64,
}

/// Names that stand in every record.
#[derive(Clone, Debug)]
pub(crate) struct Encoder {
    pub pipeline: String,
    pub database: String,
}

/// A record's bytes, framed.
#[derive(Debug, Default)]
pub(crate) struct Record<'k> {
    /// None for a truncation, which is of no key.
    pub key: Option<&'k [u8]>,
    pub value: Vec<u8>,
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
    let mut rows = Vec::new();
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
    /// The record of rows that are encoded.
    ///
    /// # Errors
    /// When its place does not fit the envelope.
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
        self.source(prepared, meta, &mut value)?;
        write_long(&mut value, 1);
        write_long(&mut value, meta.now_ms);
        transaction(meta, &mut value)?;
        Ok(Record {
            key: prepared.key.as_deref(),
            value,
        })
    }

    fn source(
        &self,
        prepared: &Prepared<'_, '_>,
        meta: &Meta,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let table = &prepared.plan.relation.table;
        write_str(out, env!("CARGO_PKG_VERSION"));
        write_str(out, "lockstep");
        write_str(out, &self.pipeline);
        write_long(out, meta.commit_time.div_euclid(1000));
        let (snapshot, xid) = match meta.origin {
            Origin::Snapshot => ("true", None),
            // As Debezium calls what is read while the stream goes on.
            Origin::Transaction { xid, .. } if prepared.op == Op::Read => {
                ("incremental", Some(xid))
            }
            Origin::Transaction { xid, .. } => ("false", Some(xid)),
        };
        write_str(out, snapshot);
        write_str(out, &self.database);
        write_str(out, &table.schema);
        write_str(out, &table.name);
        match xid {
            Some(xid) => {
                write_long(out, 1);
                write_long(out, xid.into());
            }
            None => write_long(out, 0),
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

fn transaction(meta: &Meta, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let Origin::Transaction { xid, order } = meta.origin else {
        write_long(out, 0);
        return Ok(());
    };
    write_long(out, 1);
    write_str(out, &format!("{xid}:{}", meta.position.commit_lsn.as_u64()));
    write_long(out, signed(order.total)?);
    write_long(out, signed(order.in_table)?);
    Ok(())
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
