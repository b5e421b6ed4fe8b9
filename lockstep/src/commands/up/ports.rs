//! The ports of all parts, and whether they are free.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use anyhow::bail;
use operate::endpoints::{MonitorUrl, Monitors};

use super::Config;
use super::folder::Folder;

/// All on loopback.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Ports {
    /// Port of the local source database
    #[arg(
        long,
        env = "LOCKSTEP_SOURCE_PORT",
        value_name = "PORT",
        default_value_t = 5433
    )]
    pub(super) source_port: u16,

    /// Port of the local target database
    #[arg(
        long,
        env = "LOCKSTEP_TARGET_PORT",
        value_name = "PORT",
        default_value_t = 5434
    )]
    pub(super) target_port: u16,

    /// Port of the local Kafka broker
    #[arg(
        long,
        env = "LOCKSTEP_KAFKA_PORT",
        value_name = "PORT",
        default_value_t = 9092
    )]
    pub(super) kafka_port: u16,

    /// Port of the local schema registry
    #[arg(
        long,
        env = "LOCKSTEP_REGISTRY_PORT",
        value_name = "PORT",
        default_value_t = 8081
    )]
    pub(super) registry_port: u16,

    /// Port of the REST API
    #[arg(
        long,
        env = "LOCKSTEP_API_PORT",
        value_name = "PORT",
        default_value_t = 5000
    )]
    pub(super) api_port: u16,

    /// Port of the REST API that reads from the target
    #[arg(
        long,
        env = "LOCKSTEP_REPLICA_PORT",
        value_name = "PORT",
        default_value_t = 5001
    )]
    pub(super) replica_port: u16,

    /// Port of GraphQL
    #[arg(
        long,
        env = "LOCKSTEP_GATEWAY_PORT",
        value_name = "PORT",
        default_value_t = 4000
    )]
    pub(super) gateway_port: u16,

    /// Port of the console
    #[arg(
        long,
        env = "LOCKSTEP_CONSOLE_PORT",
        value_name = "PORT",
        default_value_t = 8080
    )]
    pub(super) console_port: u16,

    /// Port of capture's metrics and health
    #[arg(
        long,
        env = "LOCKSTEP_CDC_METRICS_PORT",
        value_name = "PORT",
        default_value_t = 9101
    )]
    pub(super) cdc_metrics_port: u16,

    /// Port of apply's metrics and health
    #[arg(
        long,
        env = "LOCKSTEP_APPLIER_METRICS_PORT",
        value_name = "PORT",
        default_value_t = 9102
    )]
    pub(super) applier_metrics_port: u16,
}

impl Ports {
    pub(super) fn api_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.api_port)
    }

    pub(super) fn replica_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.replica_port)
    }

    /// Where capture and apply tell their metrics.
    pub(super) fn monitors(&self) -> Monitors {
        let url = |port| MonitorUrl::named(format!("http://{}", loopback(port)));
        Monitors {
            capture: url(self.cdc_metrics_port),
            apply: url(self.applier_metrics_port),
        }
    }

    pub(super) fn gateway_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.gateway_port)
    }
}

pub(super) fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

impl Config {
    /// Looks at every port before anything is started, so that nothing has to be undone.
    ///
    /// # Errors
    /// The first port that is taken or named twice, what wants it, and the flag that moves it.
    pub(super) fn require_free_ports(&self, folder: &Folder) -> anyhow::Result<()> {
        let mut wanted = self.wanted_ports(folder);
        for (at, first) in wanted.iter().enumerate() {
            let second = wanted.iter().skip(at + 1).find(|it| it.port == first.port);
            if let Some(second) = second {
                bail!(
                    "port {} is wanted by the {} and by the {}: choose another with {} or {}",
                    first.port,
                    first.what,
                    second.what,
                    first.flag,
                    second.flag
                );
            }
        }
        // A server of an earlier run that was killed: its cluster's start takes it over.
        wanted.retain(|it| !it.is_our_postgres());
        for Wanted {
            port, what, flag, ..
        } in wanted
        {
            match TcpListener::bind(loopback(port)) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => bail!(
                    "port {port}, wanted by the {what}, is taken: \
                     stop what listens there, or choose another with {flag}"
                ),
                Err(error) => bail!(
                    "port {port}, wanted by the {what}, cannot be listened on ({error}): \
                     choose another with {flag}"
                ),
                Ok(_) => {}
            }
        }
        Ok(())
    }

    fn wanted_ports(&self, folder: &Folder) -> Vec<Wanted> {
        let ports = &self.ports;
        let mut wanted = vec![
            Wanted::new(ports.api_port, "REST API", "--api-port"),
            Wanted::new(ports.gateway_port, "GraphQL gateway", "--gateway-port"),
            Wanted::new(
                ports.replica_port,
                "REST API of the target",
                "--replica-port",
            ),
            Wanted::new(ports.console_port, "console", "--console-port"),
            Wanted::new(
                ports.cdc_metrics_port,
                "metrics of capture",
                "--cdc-metrics-port",
            ),
            Wanted::new(
                ports.applier_metrics_port,
                "metrics of apply",
                "--applier-metrics-port",
            ),
        ];
        if self.source.is_none() {
            let port = Wanted::new(ports.source_port, "source database", "--source-port");
            wanted.push(port.of_cluster(folder.source()));
        }
        if self.target.is_none() {
            let port = Wanted::new(ports.target_port, "target database", "--target-port");
            wanted.push(port.of_cluster(folder.target()));
        }
        if self.kafka.is_none() {
            wanted.push(Wanted::new(
                ports.kafka_port,
                "Kafka broker",
                "--kafka-port",
            ));
        }
        if self.registry.is_none() {
            wanted.push(Wanted::new(
                ports.registry_port,
                "schema registry",
                "--registry-port",
            ));
        }
        wanted
    }
}

struct Wanted {
    port: u16,
    what: &'static str,
    flag: &'static str,
    /// The folder of the cluster that wants it.
    cluster: Option<std::path::PathBuf>,
}

impl Wanted {
    fn new(port: u16, what: &'static str, flag: &'static str) -> Self {
        Self {
            port,
            what,
            flag,
            cluster: None,
        }
    }

    fn of_cluster(self, folder: std::path::PathBuf) -> Self {
        Self {
            cluster: Some(folder),
            ..self
        }
    }

    /// Whether the lock file of the cluster's server names this port. The server may have died since
    /// and another have taken the port: the cluster's own start finds out, and says so.
    fn is_our_postgres(&self) -> bool {
        let Some(folder) = &self.cluster else {
            return false;
        };
        port_in(&folder.join("data/postmaster.pid")) == Some(self.port)
    }
}

/// The fourth line of Postgres' lock file (`LOCK_FILE_LINE_PORT`).
fn port_in(lock_file: &Path) -> Option<u16> {
    let text = fs::read_to_string(lock_file).ok()?;
    text.lines().nth(3)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_stands_in_the_fourth_line_of_the_lock_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("postmaster.pid");
        assert_eq!(port_in(&file), None);
        fs::write(&file, "17\n/data\n1700000000\n5433\n/tmp\n127.0.0.1\n").unwrap();
        assert_eq!(port_in(&file), Some(5433));
    }
}
