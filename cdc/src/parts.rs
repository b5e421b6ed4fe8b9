//! What capture does to each row, by itself: for benchmarks.

use change::framing::SchemaId;
use change::relation::Relation;
use change::{Lsn, Position};

use crate::config::LargeRecords;
use crate::encode::{Encoder, Limit, Meta, Order, Origin, Schemas, TablePlan, inserted, prepare};
use crate::wire::pgoutput::{self, Framing, Insert, Message};

/// From messages of one table to records.
pub struct Rows {
    plan: TablePlan,
    encoder: Encoder,
}

const SCHEMA: SchemaId = SchemaId(1);
const META: Meta = Meta {
    epoch: 1,
    position: Position {
        commit_lsn: Lsn::ZERO,
        ordinal: 0,
    },
    commit_time: 0,
    now_ms: 0,
    origin: Origin::Transaction {
        xid: 1,
        order: Order {
            total: 1,
            in_collection: 1,
        },
    },
};

impl Rows {
    pub fn new(relation: Relation) -> Self {
        let schemas = Schemas {
            key: SCHEMA,
            value: SCHEMA,
        };
        let limit = Limit {
            bytes_max: change::topic::RECORD_BYTES_MAX,
            policy: LargeRecords::Split,
            schema: SCHEMA,
        };
        Self {
            plan: TablePlan::new("topic", relation, schemas),
            encoder: Encoder::new("pipeline", "database", limit),
        }
    }

    /// Reads an Insert of pgoutput, and answers how many columns it has.
    ///
    /// # Panics
    /// When it is none.
    pub fn decode(message: &[u8]) -> usize {
        read(message).new.len()
    }

    /// The value of the record that an Insert of pgoutput becomes.
    ///
    /// # Panics
    /// When it is none of the table.
    pub fn encode(&self, message: &[u8]) -> Vec<u8> {
        let step = inserted(&read(message).new);
        let prepared = prepare(&self.plan, &step).expect("a row of the table");
        let record = self.encoder.encode(&prepared, &META);
        record.expect("a record of common length").value
    }
}

fn read(message: &[u8]) -> Insert<'_> {
    let framed = pgoutput::decode(message, Framing::Plain).expect("a message of pgoutput");
    match framed.message {
        Message::Insert(insert) => insert,
        other => panic!("not an Insert: {other:?}"),
    }
}
