//! Transactions of producers (KIP-98): records in several partitions, and offsets of consumer
//! groups, that count together or not at all.
//!
//! `transaction` is what is known of one transactional id, as a state machine without clock or
//! file; `store` keeps the states in a journal; `coordinator` answers producers and ends their
//! transactions in the partitions, and in the offsets.
//!
//! A transaction ends in this order: the decision is in the journal, then a marker in the log of
//! each partition, then its offsets count, then the journal says that it is complete. A start after
//! a crash goes on from where that was.

mod coordinator;
mod store;
mod transaction;

#[cfg(test)]
mod tests;

pub(super) use coordinator::Transactions;
pub(super) use transaction::{Outcome, Producer, Transaction, TransactionError};
