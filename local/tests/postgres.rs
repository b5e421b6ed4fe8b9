//! The launcher against the installed Postgres.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, not in what they share"
)]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use local::postgres::{Cluster, ClusterConfig, PostgresError};
use tempfile::TempDir;
use tokio_postgres::NoTls;

#[tokio::test]
async fn a_cluster_is_created_stopped_and_started_again_with_its_rows() {
    let dir = open_folder();
    let config = config(dir.path());
    let cluster = Cluster::start(config.clone()).await.unwrap();
    assert_eq!(ask(&cluster, "show wal_level").await, "logical");
    assert_eq!(ask(&cluster, "show server_encoding").await, "UTF8");
    assert_eq!(ask(&cluster, "show fsync").await, "off");
    run(&cluster, "create table t as select 'kept' as v").await;
    cluster.stop().await.unwrap();

    let cluster = Cluster::start(config).await.unwrap();
    assert_eq!(ask(&cluster, "select v from t").await, "kept");
    cluster.kill().await.unwrap();
}

#[tokio::test]
async fn a_password_is_required_on_loopback() {
    let dir = open_folder();
    let cluster = Cluster::start(config(dir.path())).await.unwrap();
    let dsn = format!(
        "host=127.0.0.1 port={} user=postgres password=guess",
        cluster.port()
    );
    let refused = tokio_postgres::connect(&dsn, NoTls).await.err().unwrap();
    assert_eq!(refused.code().unwrap().code(), "28P01");
    cluster.kill().await.unwrap();
}

/// What `kill -9` of the launcher leaves: the server runs, the lock is free.
#[tokio::test]
async fn a_server_whose_launcher_was_killed_is_taken_over() {
    let dir = open_folder();
    let first_config = config(dir.path());
    let first = Cluster::start(first_config.clone()).await.unwrap();
    run(&first, "create table t as select 'kept' as v").await;
    let left = first.pid();
    drop(first);
    assert!(Path::new(&format!("/proc/{left}")).exists());

    let second = Cluster::start(first_config).await.unwrap();
    assert_ne!(second.pid(), left);
    assert_eq!(ask(&second, "select v from t").await, "kept");
    second.kill().await.unwrap();
}

#[tokio::test]
async fn the_death_of_the_server_is_noticed_and_the_next_start_recovers() {
    let dir = open_folder();
    let config = config(dir.path());
    let mut cluster = Cluster::start(config.clone()).await.unwrap();
    run(&cluster, "create table t as select 'kept' as v").await;
    kill_9(cluster.pid());
    let error = cluster.exited().await.to_string();
    assert!(
        error.contains("signal: 9") && error.contains("postgres.log"),
        "{error}"
    );
    drop(cluster);

    let cluster = Cluster::start(config).await.unwrap();
    assert_eq!(ask(&cluster, "select v from t").await, "kept");
    cluster.kill().await.unwrap();
}

/// After a crash the number in `postmaster.pid` may belong to any program.
#[tokio::test]
async fn a_lock_file_with_the_number_of_another_program_does_not_stop_the_start() {
    let dir = open_folder();
    let config = config(dir.path());
    Cluster::start(config.clone())
        .await
        .unwrap()
        .kill()
        .await
        .unwrap();
    let stale = format!("{}\n{}\n", std::process::id(), dir.path().display());
    fs::write(dir.path().join("data/postmaster.pid"), stale).unwrap();
    Cluster::start(config).await.unwrap().kill().await.unwrap();
}

#[tokio::test]
async fn an_initdb_that_was_cut_short_is_begun_anew() {
    let dir = open_folder();
    fs::create_dir(dir.path().join("data.new")).unwrap();
    fs::write(dir.path().join("data.new/PG_VERSION"), "15\n").unwrap();
    Cluster::start(config(dir.path()))
        .await
        .unwrap()
        .kill()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_taken_port_names_its_owner_and_the_flag() {
    let dir = open_folder();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let error = Cluster::start(ClusterConfig {
        port,
        ..config(dir.path())
    })
    .await
    .unwrap_err();
    let text = error.to_string();
    for part in [
        &port.to_string(),
        &format!("pid {}", std::process::id()),
        "--source-port",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn two_launchers_cannot_share_a_folder() {
    let dir = open_folder();
    let cluster = Cluster::start(config(dir.path())).await.unwrap();
    let error = Cluster::start(config(dir.path())).await.unwrap_err();
    assert!(matches!(error, PostgresError::Locked { .. }), "{error}");
    cluster.kill().await.unwrap();
}

#[tokio::test]
async fn a_setting_that_postgres_refuses_is_shown_with_its_log() {
    let dir = open_folder();
    let settings = vec![("wal_levell".to_owned(), "logical".to_owned())];
    let error = Cluster::start(ClusterConfig {
        settings,
        ..config(dir.path())
    })
    .await
    .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("wal_levell") && text.contains("postgres.log"),
        "{text}"
    );
}

/// Only root starts servers as another user, who must be able to get to the data.
#[tokio::test]
async fn a_closed_parent_folder_is_named_when_started_by_root() {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    match Cluster::start(config(&dir.path().join("source"))).await {
        Err(error @ PostgresError::NotTraversable { .. }) => {
            assert!(is_root(), "{error}");
            assert!(
                error
                    .to_string()
                    .contains(&dir.path().display().to_string()),
                "{error}"
            );
        }
        Ok(cluster) => {
            assert!(!is_root());
            cluster.kill().await.unwrap();
        }
        Err(error) => panic!("{error}"),
    }
}

fn config(dir: &Path) -> ClusterConfig {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    ClusterConfig {
        name: "source".to_owned(),
        data_dir: dir.to_owned(),
        port: free.local_addr().unwrap().port(),
        port_flag: "--source-port".to_owned(),
        settings: vec![("wal_level".to_owned(), "logical".to_owned())],
        bin: None,
        fsync: false,
    }
}

/// A temporary folder that the server's user may enter.
fn open_folder() -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
    dir
}

async fn ask(cluster: &Cluster, query: &str) -> String {
    connect(cluster)
        .await
        .query_one(query, &[])
        .await
        .unwrap()
        .get(0)
}

async fn run(cluster: &Cluster, statements: &str) {
    connect(cluster)
        .await
        .batch_execute(statements)
        .await
        .unwrap();
}

async fn connect(cluster: &Cluster) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(&cluster.dsn("postgres"), NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

fn kill_9(pid: u32) {
    assert!(
        Command::new("kill")
            .args(["-9", &pid.to_string()])
            .status()
            .unwrap()
            .success()
    );
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}
