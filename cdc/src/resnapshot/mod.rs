//! Reading a table once more while its changes flow on.
//!
//! ```text
//!            low                     high                 the table is read key range by key range;
//! log  ───────┼───────T1──────T2──────┼────────▶          each range is a chunk
//!                 ▲ the chunk is read
//! ```
//!
//! A worker beside the stream writes a low watermark into the source's log, reads a chunk under a
//! new snapshot, and writes a high watermark. What stands between the two in the stream is newer
//! than the chunk or in it: rows whose key was changed there are left out, and a value that such a
//! change did not bring is taken from the chunk. The rest is published as the changes of the
//! transaction of the high watermark, so that order, exactly-once and the chain of commits records
//! are those of any transaction.
//!
//! Chunks are ranges of the key, not of blocks: a row that is updated moves to another block, and
//! would be missed by who has read that one before. A row whose key is updated moves to another range
//! likewise: where large values of it were left out, another pass reads what was written since. Where
//! a chunk cannot be used it is read again: the request on the source moves only behind what counts
//! in the topics.

mod chunk;
pub(crate) use chunk::{Chunk, Desk, Outcome, Repeat};

mod range;

mod request;
pub(crate) use request::{Strays, ask};

mod watermark;
pub(crate) use watermark::{PREFIX, Watermark};

mod owed;
pub(crate) use owed::left_behind;

mod window;
pub(crate) use window::{Touch, Window};

mod progress;
pub(crate) use progress::{Resnapshot, answer};

mod reading;

mod worker;
pub(crate) use worker::{Worker, WorkerTask};

/// Keys and values that are kept in mind: of what changed in a window, and of what is owed.
const KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What an entry takes beside its bytes, about.
const ENTRY_BYTES: usize = 64;
