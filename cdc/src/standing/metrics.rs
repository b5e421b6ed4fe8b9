//! The source's log and the slot as metrics. What is not known has no value: a zero would look
//! like health.

use std::time::Duration;

use change::Lsn;
use prometheus::{GaugeVec, IntGaugeVec, Opts, Registry};

use super::{Standing, Trail};
use crate::metrics::gauge_value;

/// As `pg_replication_slots` has them, and one for a slot that is not there.
const WAL_STATUSES: [&str; 5] = ["reserved", "extended", "unreserved", "lost", MISSING];
const MISSING: &str = "missing";

#[derive(Clone)]
pub(super) struct Metrics {
    slot: String,
    source_lsn: IntGaugeVec,
    source_time_seconds: GaugeVec,
    active: IntGaugeVec,
    wal_status: IntGaugeVec,
    sent_lsn: IntGaugeVec,
    confirmed_flush_lsn: IntGaugeVec,
    retained_bytes: IntGaugeVec,
    safe_wal_size_bytes: IntGaugeVec,
    lost_in_seconds: GaugeVec,
}

impl Metrics {
    /// # Errors
    /// When `registry` has a metric of the same name already.
    pub(super) fn register(registry: &Registry, slot: &str) -> Result<Self, prometheus::Error> {
        let whole = |name: &str, help: &str, labels: &[&str]| {
            let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let fraction = |name: &str, help: &str| {
            let gauge = GaugeVec::new(Opts::new(name, help), &["slot"])?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let of_slot = ["slot"];
        Ok(Self {
            slot: slot.to_owned(),
            source_lsn: whole("cdc_source_lsn", "End of the source's log.", &of_slot)?,
            source_time_seconds: fraction(
                "cdc_source_time_seconds",
                "The source's clock when it was asked for the end of its log.",
            )?,
            active: whole(
                "cdc_slot_active",
                "1 while the slot has a reader.",
                &of_slot,
            )?,
            wal_status: whole(
                "cdc_slot_wal_status",
                "1 for the slot's wal_status; missing when there is no slot.",
                &["slot", "status"],
            )?,
            sent_lsn: whole(
                "cdc_slot_sent_lsn",
                "Up to where the source has decoded and sent.",
                &of_slot,
            )?,
            confirmed_flush_lsn: whole(
                "cdc_slot_confirmed_flush_lsn",
                "Up to where the source knows that it may forget.",
                &of_slot,
            )?,
            retained_bytes: whole(
                "cdc_slot_retained_bytes",
                "WAL that the slot holds back.",
                &of_slot,
            )?,
            safe_wal_size_bytes: whole(
                "cdc_slot_safe_wal_size_bytes",
                "WAL that may be written before the slot is in danger; none without a limit.",
                &of_slot,
            )?,
            lost_in_seconds: fraction(
                "cdc_slot_lost_in_seconds",
                "Until the slot loses WAL at the present rate; none while it keeps up.",
            )?,
        })
    }

    pub(super) fn show(&self, standing: &Standing, trail: &Trail) {
        self.whole(&self.source_lsn, Some(gauge_value(standing.lsn)));
        self.fraction(
            &self.source_time_seconds,
            Some(standing.now as f64 / 1_000_000.0),
        );
        let slot = standing.slot.as_ref();
        let known = slot.and_then(|slot| slot.wal_status.as_deref());
        let status = match slot {
            Some(_) => known,
            None => Some(MISSING),
        };
        for name in WAL_STATUSES {
            let value = i64::from(status == Some(name));
            self.wal_status
                .with_label_values(&[self.slot.as_str(), name])
                .set(value);
        }
        let lsn = |lsn: Option<Lsn>| lsn.map(gauge_value);
        self.whole(&self.active, slot.map(|slot| slot.active.into()));
        self.whole(&self.sent_lsn, lsn(slot.and_then(|slot| slot.sent_lsn)));
        self.whole(
            &self.confirmed_flush_lsn,
            lsn(slot.and_then(|slot| slot.confirmed_flush_lsn)),
        );
        self.whole(
            &self.retained_bytes,
            slot.and_then(|slot| slot.retained_bytes),
        );
        self.whole(
            &self.safe_wal_size_bytes,
            slot.and_then(|slot| slot.safe_wal_size),
        );
        let lost_in = trail.lost_in().as_ref().map(Duration::as_secs_f64);
        self.fraction(&self.lost_in_seconds, lost_in);
    }

    /// The source does not answer.
    pub(super) fn forget(&self) {
        self.wal_status.reset();
        for gauge in [
            &self.source_lsn,
            &self.active,
            &self.sent_lsn,
            &self.confirmed_flush_lsn,
            &self.retained_bytes,
            &self.safe_wal_size_bytes,
        ] {
            gauge.reset();
        }
        self.source_time_seconds.reset();
        self.lost_in_seconds.reset();
    }

    fn whole(&self, gauge: &IntGaugeVec, value: Option<i64>) {
        match value {
            Some(value) => gauge.with_label_values(&[self.slot.as_str()]).set(value),
            None => gauge.reset(),
        }
    }

    fn fraction(&self, gauge: &GaugeVec, value: Option<f64>) {
        match value {
            Some(value) => gauge.with_label_values(&[self.slot.as_str()]).set(value),
            None => gauge.reset(),
        }
    }
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
