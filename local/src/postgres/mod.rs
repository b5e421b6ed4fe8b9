//! Starts the Postgres that is installed on this machine.
//!
//! A [`Cluster`] is one server with its data directory. It survives the launcher's death: when
//! `lockstep up` is killed, its servers run on, and the next start finds them by their data
//! directory, ends them and starts its own. So there is one path only by which a server comes to
//! run, with the port and the settings that were asked for.
//!
//! **Who may connect**: `postgres`, the superuser, over loopback, with a password that was made up
//! when the cluster was created (SCRAM). Trusting loopback would hand every local user the rights
//! of the server's user, since a superuser can run programs. The password lies in a libpq
//! passfile, readable by the launcher's user only: `PGPASSFILE=… psql -h 127.0.0.1 -U postgres`.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Child;
use tokio::time::timeout;

mod account;
mod error;
mod home;
mod installation;
mod occupants;
mod postmaster;

pub use error::PostgresError;

use account::Account;
use home::Home;
use installation::Installation;
use postmaster::{Programs, Signal, Start};

/// A crash recovery with a lot of WAL takes minutes; more than this is a hang.
const READY_LIMIT: Duration = Duration::from_secs(600);

/// How long a fast shutdown may take before it becomes an immediate one.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// What to start.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// How messages call it, such as `source`.
    pub name: String,
    /// The folder for everything the cluster keeps; created when missing.
    pub data_dir: PathBuf,
    pub port: u16,
    /// The flag to name when the port is taken, such as `--source-port`.
    pub port_flag: String,
    /// For `postgresql.conf`, such as `wal_level`. ALTER SYSTEM wins over them.
    pub settings: Vec<(String, String)>,
    /// The folder of Postgres' programs; searched for when `None`.
    pub bin: Option<PathBuf>,
    /// Whether commits reach the disk. Only tests can do without.
    pub fsync: bool,
}

/// A running server. Dropping it leaves it running.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    port: u16,
    password: String,
    pid: u32,
    child: Child,
    programs: Programs,
    home: Home,
    log_start: u64,
}

impl Cluster {
    /// Creates the cluster when it is missing, starts it, and returns once it takes connections.
    ///
    /// Not cancel-safe: given up half way it may leave a server running, which the next start
    /// takes over.
    ///
    /// # Errors
    /// No or another Postgres installed, the folder or the port in use, or what the server says.
    pub async fn start(config: ClusterConfig) -> Result<Self, PostgresError> {
        let data = home::data_in(&config.data_dir);
        let programs = programs(&config, &data)?;
        let home = Home::open(&config.name, &config.data_dir, &programs.account).await?;
        require_passage(&config.name, &home, &programs.account)?;
        let (log, log_start) = home.open_log()?;
        if !home.data().exists() {
            create(&config, &home, &programs, &log, log_start).await?;
        }
        vacate(&config.name, &home, &programs).await?;
        require_free_port(&config)?;
        home.write_settings(&with_fsync(&config))?;
        let spawned = programs.serve(&home.data(), config.port, &log);
        let postgres = programs.installation.program("postgres");
        let child = spawned.map_err(PostgresError::file("run", postgres))?;
        let mut cluster = Self {
            pid: child.id().expect("not yet waited for"),
            name: config.name,
            port: config.port,
            password: home.password()?,
            child,
            programs,
            home,
            log_start,
        };
        cluster.ready().await?;
        Ok(cluster)
    }

    /// Ends sessions, writes a checkpoint and stops; after a time limit, without the checkpoint.
    ///
    /// # Errors
    /// The server could not be told.
    pub async fn stop(self) -> Result<(), PostgresError> {
        self.end(Signal::Int).await
    }

    /// Stops at once, as a crash would; the next start replays the WAL.
    ///
    /// # Errors
    /// The server could not be told.
    pub async fn kill(self) -> Result<(), PostgresError> {
        self.end(Signal::Quit).await
    }

    /// Returns once the server has ended by itself, with the reason it gave. Cancel-safe.
    pub async fn exited(&mut self) -> PostgresError {
        match self.child.wait().await {
            Ok(status) => PostgresError::Exited {
                name: self.name.clone(),
                status,
                log: self.home.log(),
                tail: self.tail(),
            },
            Err(source) => PostgresError::file("wait for", self.home.data())(source),
        }
    }

    /// A libpq URL for the superuser. It holds the password: not for logs.
    pub fn dsn(&self, database: &str) -> String {
        format!(
            "postgresql://postgres:{}@127.0.0.1:{}/{database}?sslmode=disable",
            self.password, self.port
        )
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The postmaster's process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The major version, such as 15.
    pub fn major(&self) -> u32 {
        self.programs.installation.major
    }

    /// The folder of the programs that it runs, `psql` often among them.
    pub fn bin(&self) -> &Path {
        &self.programs.installation.bin
    }

    /// The superuser's password in libpq's passfile format.
    pub fn passfile(&self) -> PathBuf {
        self.home.passfile()
    }

    pub fn log(&self) -> PathBuf {
        self.home.log()
    }

    async fn ready(&mut self) -> Result<(), PostgresError> {
        let data = self.home.data();
        let start = postmaster::ready(&mut self.child, &data, READY_LIMIT).await;
        let (name, log, tail) = (self.name.clone(), self.home.log(), self.tail());
        match start.map_err(PostgresError::file("wait for", data))? {
            Start::Ready => Ok(()),
            Start::Exited(status) => Err(PostgresError::Exited {
                name,
                status,
                log,
                tail,
            }),
            Start::TimedOut => Err(PostgresError::NotReady {
                name,
                seconds: READY_LIMIT.as_secs(),
                log,
                tail,
            }),
        }
    }

    async fn end(mut self, signal: Signal) -> Result<(), PostgresError> {
        self.signal(signal).await?;
        if timeout(STOP_LIMIT, self.child.wait()).await.is_err() {
            tracing::warn!(
                name = self.name,
                pid = self.pid,
                "postgres does not stop; stopping it at once"
            );
            self.signal(Signal::Quit).await?;
        }
        let ended = self.child.wait().await;
        ended
            .map(drop)
            .map_err(PostgresError::file("wait for", self.home.data()))
    }

    async fn signal(&mut self, signal: Signal) -> Result<(), PostgresError> {
        // A number that was waited for may belong to another process by now.
        if self.child.id().is_none() {
            return Ok(());
        }
        let told = self.programs.signal(signal, self.pid).await;
        told.map_err(PostgresError::file(
            "run",
            self.programs.installation.program("pg_ctl"),
        ))
    }

    fn tail(&self) -> String {
        home::tail(&self.home.log(), self.log_start)
    }
}

fn programs(config: &ClusterConfig, data: &Path) -> Result<Programs, PostgresError> {
    // The file that initdb writes the major version to.
    let version = fs::read_to_string(data.join("PG_VERSION")).ok();
    let major = version.and_then(|text| text.trim().parse().ok());
    let installation = Installation::find(config.bin.as_deref(), major)?;
    let account = Account::choose(data).ok_or_else(|| PostgresError::NoUnprivilegedUser {
        name: config.name.clone(),
    })?;
    Ok(Programs {
        installation,
        account,
    })
}

fn require_passage(name: &str, home: &Home, account: &Account) -> Result<(), PostgresError> {
    let data = home.data();
    let folder = data.parent().unwrap_or(&data);
    let (Account::Unprivileged { name: user, .. }, Some(blocked)) =
        (account, account.blocked_at(folder))
    else {
        return Ok(());
    };
    Err(PostgresError::NotTraversable {
        name: name.to_owned(),
        user: user.clone(),
        blocked,
    })
}

async fn create(
    config: &ClusterConfig,
    home: &Home,
    programs: &Programs,
    log: &fs::File,
    log_start: u64,
) -> Result<(), PostgresError> {
    tracing::info!(name = config.name, data = %home.data().display(), "creating a cluster");
    let staging = home.staging(&programs.account)?;
    let password = home.password_for_initdb(&programs.account)?;
    let ran = programs
        .initdb(&staging, &password.0, config.fsync, log)
        .await;
    let status = ran.map_err(PostgresError::file(
        "run",
        programs.installation.program("initdb"),
    ))?;
    if !status.success() {
        let (log, name) = (home.log(), config.name.clone());
        return Err(PostgresError::Initdb {
            name,
            status,
            tail: home::tail(&log, log_start),
            log,
        });
    }
    home.adopt(&staging)
}

async fn vacate(name: &str, home: &Home, programs: &Programs) -> Result<(), PostgresError> {
    let dir = home.data();
    let vacated = postmaster::vacate(programs, &dir).await;
    let pids = vacated.map_err(PostgresError::file("free", &dir))?;
    if pids.is_empty() {
        return Ok(());
    }
    Err(PostgresError::StillOccupied {
        name: name.to_owned(),
        dir,
        pids,
    })
}

/// Postgres would say this too, but not who has the port nor which flag moves it.
fn require_free_port(config: &ClusterConfig) -> Result<(), PostgresError> {
    match TcpListener::bind(("127.0.0.1", config.port)) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(PostgresError::PortTaken {
            name: config.name.clone(),
            port: config.port,
            owner: occupants::of_port(config.port),
            flag: config.port_flag.clone(),
        }),
        // Other refusals are the server's to explain.
        _ => Ok(()),
    }
}

fn with_fsync(config: &ClusterConfig) -> Vec<(String, String)> {
    let fsync = if config.fsync { "on" } else { "off" };
    let mut settings = config.settings.clone();
    settings.push(("fsync".to_owned(), fsync.to_owned()));
    settings
}
