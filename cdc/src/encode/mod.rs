//! From rows on the wire to records: Avro written straight from the tuple, by a plan that is made
//! once per relation.

mod envelope;
mod limit;
mod plan;
mod row;
mod steps;

pub(crate) use envelope::{Encoder, Meta, Order, Origin, Record, key, prepare};
pub(crate) use limit::Limit;
pub(crate) use plan::{Schemas, TablePlan};
pub(crate) use row::EncodeError;
pub(crate) use steps::{Step, delete, insert, inserted, truncation, update};
