//! Which log position the source may forget.

use change::Lsn;

/// Decides which LSN the source may be told to forget.
///
/// Invariant: [`Progress::flush_lsn`] never passes the end of a transaction that does not count in
/// the topics yet. Any other mistake in this crate costs a replay; this one loses data.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    flush_lsn: Lsn,
    /// Transactions that were begun and do not count yet.
    unpublished: usize,
}

impl Progress {
    /// A committed transaction begins to arrive.
    pub(crate) fn begun(&mut self) {
        self.unpublished += 1;
    }

    /// The transaction that arrived last has nothing to publish: it is empty, or counts already.
    pub(crate) fn skipped(&mut self, end_lsn: Lsn) {
        self.unpublished -= 1;
        self.quiet(end_lsn);
    }

    /// `transactions` of those that were begun, the oldest ones, count now; the last ends at
    /// `end_lsn`.
    pub(crate) fn published(&mut self, transactions: usize, end_lsn: Lsn) {
        self.unpublished -= transactions;
        self.flush_lsn = self.flush_lsn.max(end_lsn);
    }

    /// The source has sent everything before `sent_lsn`. With nothing open or in flight that may be
    /// forgotten; else a quiet publication would fill the source's disk.
    ///
    /// (The manual says that a keepalive has the current end of WAL; it has what was sent:
    /// `WalSndKeepalive` in `walsender.c`.) Transactions in progress do not matter: the slot keeps
    /// WAL for them by its `restart_lsn`, and sends each that commits later.
    pub(crate) fn quiet(&mut self, sent_lsn: Lsn) {
        if self.unpublished == 0 {
            self.flush_lsn = self.flush_lsn.max(sent_lsn);
        }
    }

    pub(crate) fn flush_lsn(&self) -> Lsn {
        self.flush_lsn
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Happening {
        Transaction,
        Skipped,
        Publish(usize),
        Keepalive,
    }

    fn happening() -> impl Strategy<Value = Happening> {
        prop_oneof![
            Just(Happening::Transaction),
            Just(Happening::Skipped),
            (1_usize..4).prop_map(Happening::Publish),
            Just(Happening::Keepalive),
        ]
    }

    proptest! {
        #[test]
        fn the_source_never_forgets_what_does_not_count(
            happenings in proptest::collection::vec(happening(), 0..60)
        ) {
            let mut progress = Progress::default();
            let mut now = 0;
            let mut pending = std::collections::VecDeque::new();
            for happening in happenings {
                now += 10;
                match happening {
                    Happening::Transaction => {
                        progress.begun();
                        pending.push_back(now);
                    }
                    Happening::Skipped => {
                        progress.begun();
                        progress.skipped(Lsn::new(now));
                    }
                    Happening::Publish(count) if count <= pending.len() => {
                        let last = pending.drain(..count).next_back().unwrap();
                        progress.published(count, Lsn::new(last));
                    }
                    Happening::Publish(_) => {}
                    Happening::Keepalive => progress.quiet(Lsn::new(now)),
                }
                let oldest = pending.front().copied().unwrap_or(u64::MAX);
                prop_assert!(progress.flush_lsn().as_u64() < oldest);
                if pending.is_empty() && matches!(happening, Happening::Keepalive) {
                    prop_assert_eq!(progress.flush_lsn(), Lsn::new(now));
                }
            }
        }
    }
}
