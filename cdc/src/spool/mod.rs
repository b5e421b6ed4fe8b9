//! Transactions that are still in progress, until their commit or abort arrives.
//!
//! ```text
//!             append            memory is full             commit
//! messages ──────────▶ buffer ─────────────────▶ file ──────────────▶ Replay, in order of arrival
//! ```
//!
//! Small transactions never reach the disk. Memory holds the buffers, bounded one by one and
//! together, and which subtransactions were rolled back. The directory is a cache: what is in it
//! when the spool opens is removed, as the slot sends again what was not confirmed.

mod directory;

mod transaction;

mod record;

mod replay;
pub use replay::Replay;

mod error;
pub use error::SpoolError;

use std::collections::HashMap;
use std::path::Path;

use crate::wire::Xid;
use directory::Directory;
use transaction::Transaction;

/// The transactions in progress of one replication stream.
///
/// Its futures are not cancel-safe: after one was dropped on its way to the disk, the transaction is
/// refused at its commit rather than replayed with a gap.
#[derive(Debug)]
pub struct Spool {
    directory: Directory,
    memory: Memory,
    transactions: HashMap<Xid, Transaction>,
    buffered_bytes: usize,
}

/// How much stays in memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// A buffer that is larger goes to its transaction's file.
    pub per_transaction: usize,
    /// When all buffers together are larger, the largest goes to its file.
    pub total: usize,
}

impl Default for Memory {
    /// Postgres streams when its own 64 MB (`logical_decoding_work_mem`) are used up, so that what
    /// is streamed is either large or, after a rollback, next to nothing.
    fn default() -> Self {
        Self {
            per_transaction: 256 * 1024,
            total: 16 * 1024 * 1024,
        }
    }
}

/// What the spool holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub transactions: usize,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
}

impl Spool {
    /// Creates the directory, or empties it of what an earlier spool left.
    ///
    /// # Errors
    ///
    /// When the directory cannot be used, or another process uses it.
    pub fn open(directory: &Path, memory: Memory) -> Result<Self, SpoolError> {
        Ok(Self {
            directory: Directory::open(directory)?,
            memory,
            transactions: HashMap::new(),
            buffered_bytes: 0,
        })
    }

    /// Keeps a message that `subxid`, a subtransaction of `xid` or `xid` itself, wrote.
    pub async fn append(
        &mut self,
        xid: Xid,
        subxid: Xid,
        message: &[u8],
    ) -> Result<(), SpoolError> {
        let transaction = self.transactions.entry(xid).or_default();
        self.buffered_bytes += transaction.append(subxid, message)?;
        if transaction.buffered_bytes() > self.memory.per_transaction {
            self.buffered_bytes -= transaction.buffered_bytes();
            transaction.spill(&self.directory, xid).await?;
        }
        while self.buffered_bytes > self.memory.total {
            self.spill_largest().await?;
        }
        Ok(())
    }

    /// Forgets what `subxid` wrote; the whole transaction, when both ids are the same.
    pub fn abort(&mut self, xid: Xid, subxid: Xid) -> Result<(), SpoolError> {
        if xid == subxid {
            return self.discard(xid);
        }
        // Nothing came of a transaction that is not known: of a subtransaction neither.
        if let Some(transaction) = self.transactions.get_mut(&xid) {
            transaction.abort(subxid);
        }
        Ok(())
    }

    /// Hands over what a transaction wrote, and forgets it. Nothing, where nothing came.
    pub fn commit(&mut self, xid: Xid) -> Result<Replay, SpoolError> {
        let transaction = self.transactions.remove(&xid).unwrap_or_default();
        self.buffered_bytes -= transaction.buffered_bytes();
        transaction.replay(&self.directory, xid)
    }

    pub fn usage(&self) -> Usage {
        let disk_bytes = self.transactions.values().map(Transaction::disk_bytes);
        Usage {
            transactions: self.transactions.len(),
            memory_bytes: u64::try_from(self.buffered_bytes).unwrap_or(u64::MAX),
            disk_bytes: disk_bytes.sum(),
        }
    }

    fn discard(&mut self, xid: Xid) -> Result<(), SpoolError> {
        let Some(transaction) = self.transactions.remove(&xid) else {
            return Ok(());
        };
        self.buffered_bytes -= transaction.buffered_bytes();
        transaction.discard(&self.directory, xid)
    }

    /// Frees at least the average buffer, so that the search pays.
    async fn spill_largest(&mut self) -> Result<(), SpoolError> {
        let by_size = |(_, transaction): &(&Xid, &mut Transaction)| transaction.buffered_bytes();
        if let Some((xid, transaction)) = self.transactions.iter_mut().max_by_key(by_size) {
            self.buffered_bytes -= transaction.buffered_bytes();
            transaction.spill(&self.directory, *xid).await?;
        }
        Ok(())
    }
}
