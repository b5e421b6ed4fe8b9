//! The schemas of a change record and of its key.
//!
//! Field names and `op` codes are Debezium's, so that what reads Debezium's topics reads these; the
//! block `lockstep` is ours. It and `op` stand first, so that one pass over a datum knows which
//! values are unchanged or exact before it meets them:
//!
//! ```text
//! lockstep     { epoch, commit_lsn, ordinal, unchanged: [column],
//!                exact: {column: bytes}, exact_before: {column: bytes} }
//! op           c | u | d | r (read by a snapshot) | t (truncate)
//! before       null | row       what was, as far as the replica identity tells
//! after        null | row
//! source       { version, connector, name, ts_ms, snapshot, db, schema, table, txId, lsn }
//! ts_ms        when the record was made
//! transaction  null | { id, total_order, data_collection_order }
//! ```
//!
//! `unchanged` and the maps name columns as Postgres does (`pgName`), not by their Avro fields.
//! `exact` holds the binary images of values in `after` that their typed fields cannot hold,
//! `exact_before` those of `before`. A key's schema is a record of the key columns, followed by
//! `_x_exact`, a map of the same meaning, where a key column's type is not total.
//!
//! An update that changes a row's key travels as two records, so that each key's history stays in
//! its own partition:
//!
//! - `d` of the old key, then `c` of the new row, where the new row is complete;
//! - `u` under the new key, with the old key in `before` and with `unchanged` columns in `after`, then
//!   `d` of the old key, where the update did not touch a TOASTed value: only the row under the old
//!   key still has it.
//!
//! What Avro cannot say stands in properties, which every Avro library keeps: on the envelope
//! `pgSchema`, `pgTable`, `pgKey` and `pgWholeRow` (the table has no key: equal rows may exist); on each
//! column `pgName`, `pgType`, `pgTypmod`, `pgNotNull`, `pgDefault`, `pgGenerated`, `pgEnum`, `pgMapping` and
//! `pgElementOid`.

mod message;
mod op;
mod parse;
mod part;
mod record;
mod schema;

pub use message::{MESSAGE_OP, Message, is_own_message, message_key_schema, message_schema};
pub use op::{Op, UnknownOp};
pub use parse::{KeyColumns, SchemaError, key_columns, relation_of};
pub use part::{PART_SUBJECT, Part, is_part_schema, part_schema};
pub use record::{Envelope, Field, Head, RecordError, head, key};
pub use schema::{EXACT_KEY_FIELD, key_schema, needs_exact, value_schema};
