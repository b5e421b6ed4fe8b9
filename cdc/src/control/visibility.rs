//! Which transactions a reader of the source sees, set against what the stream has brought.
//!
//! A commit record is written before its transaction is shown to others: behind it come the flush
//! to disk and, with synchronous replication, the wait for a standby. So the stream may bring a
//! transaction that a reader of the same moment does not see yet.

use std::collections::HashSet;
use std::str::FromStr;

use crate::wire::Xid;

/// Which transactions a snapshot of the source shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Visibility {
    /// This one and all that begin later are not shown.
    end: u32,
    /// Those that began earlier and are not shown.
    hidden: HashSet<u32>,
}

/// Asks for the [`Visibility`] of whoever asks.
pub(crate) const VISIBLE: &str = "select pg_current_snapshot()::text";

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the text of a pg_snapshot")]
pub struct ParseVisibilityError;

impl FromStr for Visibility {
    type Err = ParseVisibilityError;

    /// `xmin:xmax:xip_list`, as `pg_current_snapshot()::text`. Its numbers go on where those of the
    /// stream begin anew; their lower halves are the same.
    fn from_str(text: &str) -> Result<Self, ParseVisibilityError> {
        let mut parts = text.splitn(3, ':');
        let (_, end, hidden) = (parts.next(), parts.next(), parts.next());
        let (Some(end), Some(hidden)) = (end, hidden) else {
            return Err(ParseVisibilityError);
        };
        let listed = hidden.split(',').filter(|xid| !xid.is_empty());
        Ok(Self {
            end: lower_half(end)?,
            hidden: listed.map(lower_half).collect::<Result<_, _>>()?,
        })
    }
}

fn lower_half(xid: &str) -> Result<u32, ParseVisibilityError> {
    let xid = xid.parse().map_err(|_| ParseVisibilityError)?;
    Ok(short(xid).0)
}

/// The number of a transaction as the stream and tables have it.
pub(crate) fn short(xid: u64) -> Xid {
    let [_, _, _, _, lower @ ..] = xid.to_be_bytes();
    Xid(u32::from_be_bytes(lower))
}

/// The transaction before which all have ended for who sees this: `xmin` of a `pg_snapshot`'s text.
///
/// # Errors
/// When it is no such text.
pub(crate) fn horizon(snapshot: &str) -> Result<u64, ParseVisibilityError> {
    let xmin = snapshot.split(':').next();
    let xmin = xmin.and_then(|xid| xid.parse().ok());
    xmin.ok_or(ParseVisibilityError)
}

impl Visibility {
    /// Whether what the transaction did is shown, or undone.
    fn shows(&self, xid: Xid) -> bool {
        // They go round: of two, the one that is less than half the circle ahead is the later one.
        let is_later = xid.0.wrapping_sub(self.end).cast_signed() >= 0;
        !is_later && !self.hidden.contains(&xid.0)
    }
}

/// Transactions that the stream has brought, or may have brought, and that readers need not see yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hidden(HashSet<Xid>);

impl Hidden {
    /// At the start of capture: what is in progress on the source may have been brought to the one
    /// before us already.
    pub(crate) fn at_start(visibility: &Visibility) -> Self {
        Self(visibility.hidden.iter().map(|xid| Xid(*xid)).collect())
    }

    /// The stream has brought the commit of `xid`.
    pub(crate) fn committed(&mut self, xid: Xid) {
        self.0.insert(xid);
    }

    /// Forgets `xid`.
    pub(crate) fn remove(&mut self, xid: Xid) {
        self.0.remove(&xid);
    }

    /// Forgets what readers see from now on.
    pub(crate) fn shown(&mut self, visibility: &Visibility) {
        self.0.retain(|xid| !visibility.shows(*xid));
    }

    /// Whether a reader of `visibility` misses one of them.
    pub(crate) fn is_missed_by(&self, visibility: &Visibility) -> bool {
        self.0.iter().any(|xid| !visibility.shows(*xid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visibility(text: &str) -> Visibility {
        text.parse().unwrap()
    }

    #[test]
    fn a_snapshot_shows_what_ended_before_it() {
        let visibility = visibility("10:20:10,14");
        for (xid, shown) in [(9, true), (10, false), (13, true), (14, false), (20, false)] {
            assert_eq!(visibility.shows(Xid(xid)), shown, "{xid}");
        }
    }

    #[test]
    fn numbers_go_round() {
        let visibility = visibility("4294967294:4294967301:4294967295");
        for (xid, shown) in [
            (u32::MAX - 1, true),
            (u32::MAX, false),
            (4, true),
            (5, false),
        ] {
            assert_eq!(visibility.shows(Xid(xid)), shown, "{xid}");
        }
    }

    #[test]
    fn what_is_no_snapshot_is_refused() {
        for text in ["", "1", "1:2", "1:x:", "1:2:3,y"] {
            assert_eq!(
                text.parse::<Visibility>(),
                Err(ParseVisibilityError),
                "{text}"
            );
        }
        assert_eq!(visibility("7:7:").hidden.len(), 0);
    }

    #[test]
    fn a_transaction_is_hidden_until_a_reader_sees_it() {
        let mut hidden = Hidden::at_start(&visibility("5:9:5"));
        hidden.committed(Xid(10));
        assert!(hidden.is_missed_by(&visibility("10:11:10")));
        hidden.shown(&visibility("10:11:10"));
        assert!(!hidden.is_missed_by(&visibility("11:11:")));
        assert!(hidden.is_missed_by(&visibility("10:10:")));
        hidden.remove(Xid(10));
        assert!(!hidden.is_missed_by(&visibility("5:5:")));
    }
}
