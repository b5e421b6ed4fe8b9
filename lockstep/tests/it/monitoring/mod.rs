//! What `monitoring/` holds: dashboards as Grafana wants them, rules as Prometheus wants them, and
//! both of them true of a running pipeline.

mod dashboards;
mod faults;
mod prometheus;
mod rules;

use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    repository().join("monitoring")
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
