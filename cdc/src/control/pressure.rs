//! How near the slot is to losing what it needs.

/// What the source says of the slot's room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// As `pg_replication_slots` has it: reserved, extended, unreserved, lost.
    pub wal_status: Option<String>,
    /// Bytes of log that may still be written before the slot is in danger; none without a limit.
    pub safe_wal_size: Option<i64>,
    /// `max_slot_wal_keep_size` in bytes; none without a limit.
    pub limit: Option<i64>,
}

/// What follows from it for whoever adds to the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pressure {
    #[default]
    None,
    /// Less than half of the room is left: go slowly.
    Slow,
    /// Less than a quarter is left, or the source may remove at its next checkpoint what the slot
    /// needs: wait.
    Wait,
}

impl Room {
    pub(crate) fn pressure(&self) -> Pressure {
        if matches!(self.wal_status.as_deref(), Some("unreserved" | "lost")) {
            return Pressure::Wait;
        }
        let (Some(safe), Some(limit)) = (self.safe_wal_size, self.limit) else {
            return Pressure::None;
        };
        match safe {
            safe if safe < limit / 4 => Pressure::Wait,
            safe if safe < limit / 2 => Pressure::Slow,
            _ => Pressure::None,
        }
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.wal_status.as_deref() == Some("lost")
    }
}

impl Pressure {
    /// As a gauge shows it.
    pub(crate) fn level(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Slow => 1,
            Self::Wait => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wal_status: &str, safe_wal_size: Option<i64>, limit: Option<i64>, expected: Pressure) {
        let room = Room {
            wal_status: Some(wal_status.to_owned()),
            safe_wal_size,
            limit,
        };
        assert_eq!(room.pressure(), expected);
    }

    #[test]
    fn half_the_room_is_slow_and_a_quarter_is_a_wait() {
        check("reserved", None, None, Pressure::None);
        check("extended", Some(500), Some(1000), Pressure::None);
        check("extended", Some(499), Some(1000), Pressure::Slow);
        check("extended", Some(250), Some(1000), Pressure::Slow);
        check("extended", Some(249), Some(1000), Pressure::Wait);
        check("unreserved", Some(-16), Some(1000), Pressure::Wait);
        check("lost", None, Some(1000), Pressure::Wait);
    }
}
