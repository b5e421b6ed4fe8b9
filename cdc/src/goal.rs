//! Where a stream ends, if it ends anywhere: at the snapshot that continues an interrupted one.

use change::Lsn;

/// Takes what commits before the goal, and nothing behind it: the slot sends that again.
#[derive(Debug, Default)]
pub(crate) struct Goal {
    lsn: Option<Lsn>,
    reached: bool,
}

impl Goal {
    pub(crate) fn at(lsn: Lsn) -> Self {
        Self {
            lsn: Some(lsn),
            reached: false,
        }
    }

    /// Everything that committed before `lsn` has come. True from the goal on.
    pub(crate) fn passed(&mut self, lsn: Lsn) -> bool {
        self.reached |= self.lsn.is_some_and(|goal| lsn >= goal);
        self.reached
    }

    pub(crate) fn is_reached(&self) -> bool {
        self.reached
    }

    /// `lsn`, or the goal when that is behind it.
    pub(crate) fn within(&self, lsn: Lsn) -> Lsn {
        self.lsn.map_or(lsn, |goal| goal.min(lsn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commits_at_the_goal_is_behind_it() {
        let mut goal = Goal::at(Lsn::new(100));
        assert!(!goal.passed(Lsn::new(99)));
        assert_eq!(goal.within(Lsn::new(99)), Lsn::new(99));
        assert!(goal.passed(Lsn::new(100)));
        assert!(goal.passed(Lsn::new(50)));
        assert!(goal.is_reached());
        assert_eq!(goal.within(Lsn::new(101)), Lsn::new(100));
    }

    #[test]
    fn most_streams_have_no_end() {
        let mut goal = Goal::default();
        assert!(!goal.passed(Lsn::new(u64::MAX)));
        assert_eq!(goal.within(Lsn::new(7)), Lsn::new(7));
    }
}
