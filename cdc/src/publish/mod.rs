//! Batches of whole transactions: their records, then the commits record that makes them count.

mod tracker;
pub(crate) use tracker::Tracker;

mod batch;
pub(crate) use batch::{Batch, Shapes};

mod chain;
pub(crate) use chain::{Chain, Identity, PublishError, Published};

mod committer;
pub(crate) use committer::Committer;
