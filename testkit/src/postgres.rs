//! Postgres for tests: a server per process that tests share, a database per test.

use std::env;
use std::fs;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use local::postgres::{Cluster, ClusterConfig};
use tokio::sync::{Mutex, OnceCell};
use tokio_postgres::{Client, NoTls};

use crate::guardian::{Farewell, Guardian};
use crate::{household, name, port};

/// A database of the test's own on the server that all tests of this process share.
///
/// # Panics
/// With the reason when there is no Postgres to start.
pub async fn database() -> Database {
    static SHARED: OnceCell<Arc<Server>> = OnceCell::const_new();
    let start = || async { Arc::new(Server::start(&[]).await) };
    // A server of the household outlives the test that happened to start it.
    let shared = SHARED.get_or_init(start).await;
    shared.database().await
}

/// A server of one test's own, which may be stopped and killed. It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    config: ClusterConfig,
    /// `None` while it is down.
    cluster: Mutex<Option<Cluster>>,
    dsn: String,
    guardian: Guardian,
}

impl Server {
    /// Starts a server with logical replication; `settings` are added to `postgresql.conf`.
    ///
    /// # Panics
    /// With the reason when it does not start.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let guardian = Guardian::new(Farewell::Quit).expect("guard a folder");
        let config = config(&guardian, settings);
        let cluster = run(config.clone()).await;
        let dsn = cluster.dsn("");
        Self {
            config,
            cluster: Mutex::new(Some(cluster)),
            dsn,
            guardian,
        }
    }

    /// A new database on it.
    pub async fn database(&self) -> Database {
        let name = name::unique();
        let admin = self.dsn("postgres");
        let client = connect(&admin).await.expect("connect to the server");
        client
            .batch_execute(&format!("create database {name}"))
            .await
            .expect("create a database");
        Database {
            dsn: self.dsn(&name),
            name,
            admin,
        }
    }

    /// The superuser's libpq URL; the port stays the same over restarts.
    pub fn dsn(&self, database: &str) -> String {
        self.dsn.replacen("/?", &format!("/{database}?"), 1)
    }

    /// Fast shutdown.
    pub async fn stop(&self) {
        let cluster = self.cluster.lock().await.take().expect("the server runs");
        household::run(cluster.stop())
            .await
            .expect("stop the server");
    }

    /// Immediate shutdown, as in a crash of the server.
    pub async fn kill(&self) {
        let cluster = self.cluster.lock().await.take().expect("the server runs");
        household::run(cluster.kill())
            .await
            .expect("kill the server");
    }

    /// Starts it again after [`Self::stop`] or [`Self::kill`].
    pub async fn restart(&self) {
        let mut cluster = self.cluster.lock().await;
        assert!(cluster.is_none(), "the server runs");
        *cluster = Some(run(self.config.clone()).await);
    }

    /// What the server printed, for tests that look for secrets or for warnings in it.
    pub fn log(&self) -> String {
        fs::read_to_string(self.guardian.dir().join("server/postgres.log")).expect("read the log")
    }
}

/// A database that is dropped with this handle, together with its slots.
#[derive(Debug)]
pub struct Database {
    name: String,
    dsn: String,
    admin: String,
}

impl Database {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The superuser's libpq URL. Superusers may replicate.
    pub fn dsn(&self) -> &str {
        &self.dsn
    }

    /// A new connection, which ends with the handle.
    ///
    /// # Panics
    /// When the server does not take it; use [`connect`] while servers come and go.
    pub async fn client(&self) -> Connection {
        connect(&self.dsn).await.expect("connect to the database")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (name, admin) = (self.name.clone(), self.admin.clone());
        // Nobody waits for it: should it fail, the server's end is the end of the database too.
        household::start(async move {
            let _ = drop_database(&admin, &name).await;
        });
    }
}

/// A client together with its connection's task.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    task: tokio::task::JoinHandle<()>,
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl std::ops::DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connects without TLS.
///
/// # Errors
/// As tokio-postgres.
pub async fn connect(dsn: &str) -> Result<Connection, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(dsn, NoTls).await?;
    // A broken connection shows in the client's next call.
    let task = tokio::spawn(async move { drop(connection.await) });
    Ok(Connection { client, task })
}

fn config(guardian: &Guardian, settings: &[(&str, &str)]) -> ClusterConfig {
    // Many tests at once, each with slots and connections; nothing needs to survive the machine.
    let common = [
        ("wal_level", "logical"),
        ("max_connections", "400"),
        ("max_wal_senders", "200"),
        ("max_replication_slots", "200"),
        ("max_prepared_transactions", "50"),
        ("shared_buffers", "64MB"),
        ("full_page_writes", "off"),
    ];
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    ClusterConfig {
        name: "test".to_owned(),
        data_dir: guardian.dir().join("server"),
        port: port::free(),
        port_flag: "another port".to_owned(),
        // Of two lines for one setting, Postgres takes the last.
        settings: common.iter().chain(settings).map(own).collect(),
        bin: bin(),
        fsync: false,
    }
}

/// Of another version than the machine's own, where `lockstep` is told to use it, too.
fn bin() -> Option<PathBuf> {
    env::var_os("LOCKSTEP_PG_BIN").map(PathBuf::from)
}

/// A client program that understands the servers of the tests.
pub fn client_program(name: &str) -> PathBuf {
    bin().map_or_else(|| PathBuf::from(name), |bin| bin.join(name))
}

async fn run(config: ClusterConfig) -> Cluster {
    match household::run(Cluster::start(config)).await {
        Ok(cluster) => cluster,
        Err(error) => panic!("{:#}", anyhow::Error::from(error)),
    }
}

/// A database cannot be dropped while it has slots, nor a slot while it is in use.
async fn drop_database(admin: &str, name: &str) -> anyhow::Result<()> {
    let client = connect(admin).await?;
    for _ in 0..50 {
        let slots = "select slot_name, active_pid from pg_replication_slots where database = $1";
        for slot in client.query(slots, &[&name]).await? {
            let (slot, active): (&str, Option<i32>) = (slot.get(0), slot.get(1));
            if let Some(pid) = active {
                client
                    .execute("select pg_terminate_backend($1)", &[&pid])
                    .await?;
            }
            // In use until its process has ended: the next round gets it.
            let _ = client
                .execute("select pg_drop_replication_slot($1)", &[&slot])
                .await;
        }
        if client
            .batch_execute(&format!("drop database {name} with (force)"))
            .await
            .is_ok()
        {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    Err(anyhow::anyhow!("still in use")).context(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait;

    #[tokio::test]
    async fn each_test_has_a_database_that_goes_with_its_slots() {
        let first = database().await;
        let second = database().await;
        assert_ne!(first.name(), second.name());
        let slot = format!(
            "select pg_create_logical_replication_slot('{}', 'pgoutput')",
            first.name()
        );
        first.client().await.batch_execute(&slot).await.unwrap();
        let name = first.name().to_owned();
        drop(first);
        let client = second.client().await;
        wait::until("the database is dropped", async || {
            let query = "select count(*) from pg_database where datname = $1";
            match client
                .query_one(query, &[&name])
                .await
                .unwrap()
                .get::<_, i64>(0)
            {
                0 => Ok(()),
                count => Err(count),
            }
        })
        .await;
    }

    #[tokio::test]
    async fn a_server_of_ones_own_takes_settings_and_comes_back_on_its_port() {
        let server = Server::start(&[("work_mem", "5MB"), ("max_connections", "20")]).await;
        let database = server.database().await;
        database
            .client()
            .await
            .batch_execute("create table t as select 1 as v")
            .await
            .unwrap();
        server.kill().await;
        connect(database.dsn()).await.unwrap_err();
        server.restart().await;
        let client = database.client().await;
        assert_eq!(
            client
                .query_one("select v from t", &[])
                .await
                .unwrap()
                .get::<_, i32>(0),
            1
        );
        let show = client.query_one("show work_mem", &[]).await.unwrap();
        assert_eq!(show.get::<_, &str>(0), "5MB");
        assert!(server.log().contains("database system is ready"));
    }
}
