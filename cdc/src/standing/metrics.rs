//! The source's log and the slot as metrics. What is not known has no value: a zero would look
//! like health.

use std::time::Duration;

use change::Lsn;
use prometheus::{GaugeVec, Opts, Registry};

use super::{Slot, Standing, Trail};

/// As `pg_replication_slots` has them, and one for a slot that is not there.
const WAL_STATUSES: [&str; 5] = ["reserved", "extended", "unreserved", "lost", MISSING];
const MISSING: &str = "missing";

/// All have the slot's name as a label, `wal_status` also the status.
#[derive(Clone)]
pub(super) struct Metrics {
    slot: String,
    source_lsn: GaugeVec,
    source_time_seconds: GaugeVec,
    active: GaugeVec,
    wal_status: GaugeVec,
    sent_lsn: GaugeVec,
    confirmed_flush_lsn: GaugeVec,
    retained_bytes: GaugeVec,
    safe_wal_size_bytes: GaugeVec,
    lost_in_seconds: GaugeVec,
}

impl Metrics {
    /// # Errors
    /// When `registry` has a metric of the same name already.
    pub(super) fn register(registry: &Registry, slot: &str) -> Result<Self, prometheus::Error> {
        let labelled = |name: &str, help: &str, labels: &[&str]| {
            let gauge = GaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let gauge = |name: &str, help: &str| labelled(name, help, &["slot"]);
        Ok(Self {
            slot: slot.to_owned(),
            source_lsn: gauge("cdc_source_lsn", "End of the source's log.")?,
            source_time_seconds: gauge(
                "cdc_source_time_seconds",
                "The source's clock when it was asked for the end of its log.",
            )?,
            active: gauge("cdc_slot_active", "1 while the slot has a reader.")?,
            wal_status: labelled(
                "cdc_slot_wal_status",
                "1 for the slot's wal_status; missing when there is no slot.",
                &["slot", "status"],
            )?,
            sent_lsn: gauge(
                "cdc_slot_sent_lsn",
                "Up to where the source has decoded and sent.",
            )?,
            confirmed_flush_lsn: gauge(
                "cdc_slot_confirmed_flush_lsn",
                "Up to where the source knows that it may forget.",
            )?,
            retained_bytes: gauge("cdc_slot_retained_bytes", "WAL that the slot holds back.")?,
            safe_wal_size_bytes: gauge(
                "cdc_slot_safe_wal_size_bytes",
                "WAL that may be written before the slot is in danger; none without a limit.",
            )?,
            lost_in_seconds: gauge(
                "cdc_slot_lost_in_seconds",
                "Until the slot loses WAL at the present rate; none while it keeps up.",
            )?,
        })
    }

    pub(super) fn show(&self, standing: &Standing, trail: &Trail) {
        self.set(&self.source_lsn, lsn(Some(standing.lsn)));
        self.set(&self.source_time_seconds, Some(standing.now as f64 / 1e6));
        let lost_in = trail.lost_in().as_ref().map(Duration::as_secs_f64);
        self.set(&self.lost_in_seconds, lost_in);
        let slot = standing.slot.as_ref();
        let status = slot.map_or(Some(MISSING), |slot| slot.wal_status.as_deref());
        for name in WAL_STATUSES {
            let labels = [self.slot.as_str(), name];
            let value = f64::from(u8::from(status == Some(name)));
            self.wal_status.with_label_values(&labels).set(value);
        }
        let none = Slot::default();
        let shown = slot.unwrap_or(&none);
        let active = slot.map(|slot| f64::from(u8::from(slot.active)));
        self.set(&self.active, active);
        self.set(&self.sent_lsn, lsn(shown.sent_lsn));
        self.set(&self.confirmed_flush_lsn, lsn(shown.confirmed_flush_lsn));
        self.set(&self.retained_bytes, bytes(shown.retained_bytes));
        self.set(&self.safe_wal_size_bytes, bytes(shown.safe_wal_size));
    }

    /// The source does not answer.
    pub(super) fn forget(&self) {
        for gauge in [
            &self.source_lsn,
            &self.source_time_seconds,
            &self.active,
            &self.wal_status,
            &self.sent_lsn,
            &self.confirmed_flush_lsn,
            &self.retained_bytes,
            &self.safe_wal_size_bytes,
            &self.lost_in_seconds,
        ] {
            gauge.reset();
        }
    }

    fn set(&self, gauge: &GaugeVec, value: Option<f64>) {
        match value {
            Some(value) => gauge.with_label_values(&[self.slot.as_str()]).set(value),
            None => gauge.reset(),
        }
    }
}

/// Up to 8 PB of log a float is exact.
fn lsn(lsn: Option<Lsn>) -> Option<f64> {
    lsn.map(|lsn| lsn.as_u64() as f64)
}

fn bytes(count: Option<i64>) -> Option<f64> {
    count.map(|count| count as f64)
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::super::Slot;
    use super::*;

    #[test]
    fn unknown_has_no_value() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry, "s").unwrap();
        let page = || {
            TextEncoder::new()
                .encode_to_string(&registry.gather())
                .unwrap()
        };
        assert_eq!(page(), "");
        let mut standing = Standing {
            lsn: Lsn::new(4096),
            now: 1_500_000,
            slot: Some(Slot {
                active: true,
                wal_status: Some("reserved".into()),
                retained_bytes: Some(7),
                ..Slot::default()
            }),
        };
        metrics.show(&standing, &Trail::default());
        let shown = page();
        for line in [
            "cdc_source_lsn{slot=\"s\"} 4096",
            "cdc_source_time_seconds{slot=\"s\"} 1.5",
            "cdc_slot_active{slot=\"s\"} 1",
            "cdc_slot_wal_status{slot=\"s\",status=\"reserved\"} 1",
            "cdc_slot_wal_status{slot=\"s\",status=\"lost\"} 0",
            "cdc_slot_retained_bytes{slot=\"s\"} 7",
        ] {
            assert!(shown.contains(line), "{line}: {shown}");
        }
        assert!(!shown.contains("safe_wal_size_bytes{"), "{shown}");
        standing.slot = None;
        metrics.show(&standing, &Trail::default());
        let shown = page();
        assert!(shown.contains("status=\"missing\"} 1"), "{shown}");
        assert!(!shown.contains("retained_bytes{"), "{shown}");
        metrics.forget();
        assert_eq!(page(), "");
    }
}
