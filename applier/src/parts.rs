//! What apply does to each record, by itself: for benchmarks.

use change::framing::{self, SchemaId};

use crate::decode::{Action, Fields, Plan, action};

/// From records of one schema to tuples of COPY.
pub struct Tuples {
    plan: Plan,
    fields: Fields,
}

impl Tuples {
    /// # Panics
    /// When `schema` is not one of change records.
    pub fn new(schema: &str) -> Self {
        let plan = Plan::compile(SchemaId(1), "topic", schema);
        Self {
            plan: plan.expect("a schema of change records"),
            fields: Fields::default(),
        }
    }

    /// Appends the fields of the row that a record creates.
    ///
    /// # Panics
    /// When it is another record.
    pub fn copy(&mut self, record: &[u8], out: &mut Vec<u8>) {
        let (_, datum) = framing::split(record).expect("a framed record");
        let action = action(&self.plan, datum, &mut self.fields).expect("a record of the schema");
        let Action::Insert(row) = action else {
            panic!("not a row that was created");
        };
        out.extend_from_slice(row.fields());
    }
}
