/// Microseconds between the epochs of Unix and of Postgres (2000-01-01): 10,957 days.
const POSTGRES_EPOCH_UNIX_MICROS: i64 = 10_957 * 86_400 * 1_000_000;

/// A point in time as Postgres counts it: microseconds since 2000-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PgTimestamp(i64);

impl PgTimestamp {
    pub fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Saturates for times that Unix microseconds cannot count (after the year 294,246).
    pub fn from_unix_micros(micros: i64) -> Self {
        Self(micros.saturating_sub(POSTGRES_EPOCH_UNIX_MICROS))
    }

    /// Microseconds since 2000-01-01, as on the wire.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Microseconds since 1970-01-01; saturates like [`PgTimestamp::from_unix_micros`].
    pub fn unix_micros(self) -> i64 {
        self.0.saturating_add(POSTGRES_EPOCH_UNIX_MICROS)
    }
}

#[cfg(test)]
mod tests {
    use super::PgTimestamp;

    #[test]
    fn epochs_differ_by_thirty_years() {
        assert_eq!(
            PgTimestamp::from_micros(0).unix_micros(),
            946_684_800_000_000
        );
        assert_eq!(
            PgTimestamp::from_unix_micros(946_684_800_000_001).micros(),
            1
        );
        assert_eq!(PgTimestamp::from_micros(i64::MAX).unix_micros(), i64::MAX);
    }
}
