//! The report as people read it.

use std::fmt;

use cdc::standing::Slot;
use change::Lsn;

use super::exposition::Quantiles;
use super::problem::Gravity;
use super::report::Report;
use super::stage::{Lag, Stage, StageName, Trend};
use crate::progress::Phase;
use crate::units;

const UNKNOWN: &str = "unknown";

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict.state {
            Gravity::Healthy => "healthy",
            Gravity::Degraded => "DEGRADED",
            Gravity::Stopped => "STOPPED",
        };
        writeln!(f, "{verdict}, {}", text(self.phase.map(Phase::name)))?;
        for problem in &self.problems {
            writeln!(f, "  - {}", problem.problem)?;
            writeln!(f, "    {}", problem.mend)?;
        }
        writeln!(f, "{:<13} {:<18} behind", "stage", "at")?;
        for stage in &self.stages {
            writeln!(f, "{}", StageText(stage))?;
        }
        writeln!(f, "{:<13} {}", "capture", LagText(self.capture_lag))?;
        writeln!(f, "{:<13} {}", "apply", LagText(self.apply_lag))?;
        let visible = QuantilesText(self.commit_to_visible);
        writeln!(f, "commit to visible {visible}")?;
        writeln!(f, "slot          {}", SlotText(self))?;
        let written = self.source.written_bytes_per_second;
        writeln!(f, "source        writes {}", Rate(written))?;
        writeln!(
            f,
            "topics        epoch {}, keep {}",
            number(self.topics.epoch),
            Retention(self.topics.retention_ms)
        )?;
        writeln!(f, "target        epoch {}", number(self.target.epoch))?;
        write!(f, "{}", OperationsText(self))
    }
}

fn number(value: Option<impl ToString>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |number| number.to_string())
}

fn text(value: Option<&str>) -> &str {
    value.unwrap_or(UNKNOWN)
}

fn place(lsn: Option<Lsn>) -> String {
    lsn.map_or_else(|| UNKNOWN.to_owned(), |lsn| lsn.to_string())
}

fn size(value: Option<i64>) -> String {
    let count = value.and_then(|count| u64::try_from(count).ok());
    count.map_or_else(|| UNKNOWN.to_owned(), units::bytes)
}

struct StageText<'a>(&'a Stage);

impl fmt::Display for StageText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = self.0;
        let name = match stage.stage {
            StageName::Written => "written",
            StageName::Decoded => "decoded",
            StageName::Acknowledged => "acknowledged",
            StageName::Confirmed => "confirmed",
            StageName::Applied => "applied",
            StageName::Visible => "visible",
        };
        let lag = LagText(stage.behind);
        write!(f, "{name:<13} {:<18} {lag}", place(stage.lsn))?;
        match stage.trend {
            Some(Trend::Rising) => f.write_str(", rising"),
            Some(Trend::Falling) => f.write_str(", falling"),
            Some(Trend::Steady) | None => Ok(()),
        }
    }
}

struct LagText(Lag);

impl fmt::Display for LagText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.bytes {
            Some(bytes) => write!(f, "{}, ", units::bytes(bytes))?,
            None => write!(f, "{UNKNOWN} bytes, ")?,
        }
        write!(f, "{} s", number(self.0.seconds))
    }
}

struct QuantilesText(Option<Quantiles>);

impl fmt::Display for QuantilesText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(quantiles) = self.0 else {
            return f.write_str(UNKNOWN);
        };
        let Quantiles { p50, p95, p99, .. } = quantiles;
        let [p50, p95, p99] = [p50, p95, p99].map(units::seconds);
        write!(f, "p50 {p50}, p95 {p95}, p99 {p99}")
    }
}

struct SlotText<'a>(&'a Report);

impl fmt::Display for SlotText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(slot) = &self.0.source.slot else {
            return f.write_str(UNKNOWN);
        };
        let Slot {
            name,
            active,
            wal_status,
            retained_bytes,
            safe_wal_size,
            ..
        } = slot;
        write!(
            f,
            "{name}, {}, retains {}, WAL {}",
            if *active { "active" } else { "inactive" },
            size(*retained_bytes),
            text(wal_status.as_deref()),
        )?;
        if safe_wal_size.is_some() {
            write!(f, ", safe for {} more", size(*safe_wal_size))?;
        }
        if let Some(seconds) = self.0.source.lost_in_seconds {
            write!(f, ", lost in {seconds} s at this rate")?;
        }
        if let Some(reason) = &slot.invalidation_reason {
            write!(f, ", invalidated: {reason}")?;
        }
        if let (false, Some(since)) = (slot.active, &slot.inactive_since) {
            write!(f, ", inactive since {since}")?;
        }
        match (slot.failover, slot.synced) {
            (_, Some(true)) => f.write_str(", a synchronised copy"),
            (Some(true), _) => f.write_str(", kept on standbys"),
            _ => Ok(()),
        }
    }
}

/// Bytes a second.
struct Rate(Option<f64>);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            // The fraction of a byte is left out.
            Some(rate) => write!(f, "{}/s", units::bytes(rate as u64)),
            None => f.write_str(UNKNOWN),
        }
    }
}

struct Retention(Option<i64>);

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HOUR_MS: i64 = 3_600_000;
        match self.0 {
            None => f.write_str(UNKNOWN),
            Some(limit) if limit < 0 => f.write_str("everything"),
            Some(limit) if limit >= HOUR_MS => write!(f, "{} h", limit / HOUR_MS),
            Some(limit) => write!(f, "{} s", limit / 1000),
        }
    }
}

/// What runs beside the stream. What is wrong stands above.
struct OperationsText<'a>(&'a Report);

impl fmt::Display for OperationsText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(operations) = &self.0.operations else {
            return Ok(());
        };
        if let Some(lsn) = operations.hold_lsn {
            writeln!(f, "hold          apply waits at {lsn}")?;
        }
        if let Some(replay) = &operations.replay {
            writeln!(
                f,
                "replay        {}, {}, from {} to {}, at {}, {} rows, by {}",
                replay.id,
                replay.mode,
                replay.from_lsn,
                replay.to_lsn,
                place(replay.read_lsn),
                replay.rows_read,
                replay.started_by
            )?;
        }
        for index in &operations.indexes {
            writeln!(
                f,
                "index         {} of {} is not built yet, for {} s",
                index.index, index.table, index.waiting_seconds
            )?;
        }
        if let Some(verified) = &operations.last_verification {
            let found = match verified.equal {
                true => "equal",
                false => "DIFFERENT",
            };
            writeln!(
                f,
                "verification  {found} at {}, {} rows, {} s ago",
                verified.commit_lsn, verified.rows_compared, verified.age_seconds
            )?;
        }
        Ok(())
    }
}
