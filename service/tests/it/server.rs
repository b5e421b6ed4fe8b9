//! A Postgres server of a test's own.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use service::postgres::{Dsn, connect};
use tempfile::TempDir;

use crate::certificate::Identity;

/// A stopped cluster, with the users `trusted` (no password) and `scram` (password `pass:word`).
pub(crate) struct Cluster {
    folder: TempDir,
}

/// A running server; ends when dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    child: Child,
}

const HBA: &str = "\
local   all postgres           trust
host    all postgres  all      trust
host    all trusted   all      trust
host    all scram     all      scram-sha-256
hostssl all encrypted all      trust
hostssl all certified all      cert
";

impl Cluster {
    pub(crate) async fn create() -> Self {
        let folder = TempDir::with_prefix("service-it-").unwrap();
        let cluster = Self { folder };
        give_away(cluster.folder.path());
        let mut initdb = as_server_user("initdb");
        initdb.arg("-D").arg(cluster.data());
        initdb.args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
        ]);
        let output = initdb.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        fs::write(cluster.data().join("pg_hba.conf"), HBA).unwrap();
        let server = cluster.start(None).await;
        let superuser = server.dsn("postgres", "sslmode=disable");
        let client = connect(&superuser, "test").await.unwrap();
        client
            .batch_execute(
                "create role trusted login; create role encrypted login;
                 create role certified login;
                 create role scram login password 'pass:word';",
            )
            .await
            .unwrap();
        cluster
    }

    /// Starts the server, with TLS when it is given a certificate.
    pub(crate) async fn start(&self, identity: Option<&Identity>) -> Server {
        let port = free_port();
        let mut postgres = as_server_user("postgres");
        postgres
            .arg("-D")
            .arg(self.data())
            .args(["-p", &port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_permissions=0777",
            "fsync=off",
            "max_connections=10",
        ] {
            postgres.args(["-c", setting]);
        }
        postgres.arg("-c").arg(format!(
            "unix_socket_directories={}",
            self.socket().display()
        ));
        if let Some(identity) = identity {
            let path = |name: &str| self.folder.path().join(name);
            fs::copy(&identity.certificate, path("server.crt")).unwrap();
            fs::copy(&identity.key, path("server.key")).unwrap();
            give_away(&path("server.key"));
            postgres.arg("-c").arg("ssl=on");
            let mut files = vec![
                ("ssl_cert_file", "server.crt"),
                ("ssl_key_file", "server.key"),
            ];
            if let Some(authority) = &identity.authority {
                fs::copy(authority, path("ca.crt")).unwrap();
                files.push(("ssl_ca_file", "ca.crt"));
            }
            for (setting, name) in files {
                postgres
                    .arg("-c")
                    .arg(format!("{setting}={}", path(name).display()));
            }
        }
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let child = postgres.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let server = Server { port, child };
        server.ready().await;
        server
    }

    /// The directory of the Unix socket.
    pub(crate) fn socket(&self) -> &Path {
        self.folder.path()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Server {
    pub(crate) fn dsn(&self, user: &str, parameters: &str) -> Dsn {
        self.dsn_by_name("localhost", user, parameters)
    }

    /// Under another name than the certificate's.
    pub(crate) fn dsn_by_name(&self, name: &str, user: &str, parameters: &str) -> Dsn {
        let to = format!("host={name} hostaddr=127.0.0.1 port={}", self.port);
        let text = format!("{to} dbname=postgres user={user} {parameters}");
        text.parse().unwrap()
    }

    async fn ready(&self) {
        let dsn = self.dsn("postgres", "sslmode=disable");
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Err(error) = connect(&dsn, "test").await {
            assert!(Instant::now() < deadline, "{}", service::chain(&error));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGQUIT: an immediate stop that leaves no shared memory behind.
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-QUIT", &pid]).status();
        assert!(told.is_ok_and(|status| status.success()));
        self.child.wait().unwrap();
    }
}

/// A program of Postgres 15, run by a user that it accepts, ending with the test.
fn as_server_user(program: &str) -> Command {
    let path = format!("/usr/lib/postgresql/15/bin/{program}");
    assert!(
        Path::new(&path).exists(),
        "{path} is missing: apt-get install postgresql-15"
    );
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.arg("--").arg(path).current_dir("/");
    command
}

fn give_away(path: &Path) {
    if is_root() {
        let given = Command::new("chown")
            .args(["-R", "postgres"])
            .arg(path)
            .status()
            .unwrap();
        assert!(given.success());
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
