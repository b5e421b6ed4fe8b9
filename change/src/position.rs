//! Where a change stands among all committed changes of its source.

use crate::Lsn;

/// The place of one change: the LSN of its transaction's commit record, then its index in that
/// transaction, from zero.
///
/// An LSN alone is not unique (all rows of one COPY share one) and the LSNs of rows do not follow
/// commit order. All ordering, de-duplication and replay goes by `Position`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub commit_lsn: Lsn,
    pub ordinal: u64,
}
