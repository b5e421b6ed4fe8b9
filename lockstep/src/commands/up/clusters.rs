//! The two databases.

use std::path::PathBuf;

use anyhow::Context;
use change::quoted;
use local::postgres::{Cluster, ClusterConfig};
use service::postgres::{Dsn, connect};

use super::Config;
use super::folder::Folder;
use super::parts::Parts;
use crate::screen;
use operate::endpoints::Database;

/// Where source and target are, whoever runs them.
pub(super) struct Clusters {
    pub(super) source: Database,
    pub(super) target: Database,
}

/// The database in each local cluster.
const DATABASE: &str = "app";

impl Clusters {
    /// Starts those that no setting replaces, both at once.
    ///
    /// # Errors
    /// Why a server does not start.
    pub(super) async fn start(
        config: &Config,
        folder: &Folder,
        parts: &mut Parts,
    ) -> anyhow::Result<Self> {
        let (source, target) = tokio::join!(
            start(config.source.is_none().then(|| source(config, folder))),
            start(config.target.is_none().then(|| target(config, folder)))
        );
        // Both are taken in before either error is passed on, so that both are stopped in order.
        let source = source.map(|cluster| adopt("source database", cluster, parts));
        let target = target.map(|cluster| adopt("target database", cluster, parts));
        Ok(Self {
            source: database("source", source?, config.source.as_ref()).await?,
            target: database("target", target?, config.target.as_ref()).await?,
        })
    }
}

fn source(config: &Config, folder: &Folder) -> ClusterConfig {
    ClusterConfig {
        name: "source".to_owned(),
        data_dir: folder.source(),
        port: config.ports.source_port,
        port_flag: "--source-port".to_owned(),
        settings: settings(&[("wal_level", "logical")]),
        bin: config.pg_bin.clone(),
        fsync: true,
    }
}

fn target(config: &Config, folder: &Folder) -> ClusterConfig {
    ClusterConfig {
        name: "target".to_owned(),
        data_dir: folder.target(),
        port: config.ports.target_port,
        port_flag: "--target-port".to_owned(),
        settings: settings(&[]),
        bin: config.pg_bin.clone(),
        fsync: true,
    }
}

fn settings(own: &[(&str, &str)]) -> Vec<(String, String)> {
    let common = [
        ("timezone", "UTC"),
        ("log_timezone", "UTC"),
        // So that ten thousand tables can be made, or emptied, at once.
        ("max_locks_per_transaction", "512"),
    ];
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    common.iter().chain(own).map(owned).collect()
}

async fn start(config: Option<ClusterConfig>) -> anyhow::Result<Option<Cluster>> {
    match config {
        Some(config) => Ok(Some(Cluster::start(config).await?)),
        None => Ok(None),
    }
}

/// What is known of a cluster after it has become a part.
struct Local {
    superuser: Dsn,
    port: u16,
    passfile: PathBuf,
}

fn adopt(name: &'static str, cluster: Option<Cluster>, parts: &mut Parts) -> Option<Local> {
    let mut cluster = cluster?;
    let superuser = cluster.dsn("postgres").parse();
    let local = Local {
        superuser: superuser.expect("a cluster's URL is one"),
        port: cluster.port(),
        passfile: cluster.passfile(),
    };
    parts.add(name, |stop| async move {
        tokio::select! {
            biased;
            // First, so that a server that ends because of the same Ctrl-C is no error.
            () = stop.requested() => cluster.stop().await?,
            error = cluster.exited() => return Err(error.into()),
        }
        Ok(())
    });
    Some(local)
}

async fn database(
    name: &str,
    local: Option<Local>,
    given: Option<&Database>,
) -> anyhow::Result<Database> {
    if let Some(given) = given {
        let dsn: &Dsn = given;
        screen::line(&format!("{name:<9} {dsn} (given)"));
        return Ok(given.clone());
    }
    let local = local.expect("started, because none was given");
    create_database(&local.superuser)
        .await
        .with_context(|| format!("create database {DATABASE} on the {name}"))?;
    let (port, passfile) = (local.port, local.passfile.display());
    screen::line(&format!(
        "{name:<9} psql 'postgresql://postgres@127.0.0.1:{port}/{DATABASE}?passfile={passfile}'"
    ));
    let text = format!(
        "host=127.0.0.1 port={port} user=postgres dbname={DATABASE} sslmode=disable passfile={}",
        keyword_value(&passfile.to_string())
    );
    Ok(text.parse()?)
}

async fn create_database(superuser: &Dsn) -> anyhow::Result<()> {
    let client = connect(superuser, "lockstep up").await?;
    let there = "select 1 from pg_database where datname = $1";
    if client.query_opt(there, &[&DATABASE]).await?.is_none() {
        // Whatever this machine's locale is: texts of any language have to fit.
        let create = format!(
            "create database {} encoding 'UTF8' template template0",
            quoted(DATABASE)
        );
        client.batch_execute(&create).await?;
    }
    Ok(())
}

/// A value in libpq's keyword form (manual, "Keyword/Value Connection Strings").
fn keyword_value(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}
