//! What each `sslmode` accepts, as the table in the manual ("SSL Support") has it.

use service::postgres::{ConnectError, Dsn, connect, dial, tls_connector};
use tempfile::TempDir;

use crate::certificate::{Authority, EC, self_signed};
use crate::server::{Cluster, Server};

/// Whether the session that a connection string leads to is encrypted.
async fn encrypted(dsn: &Dsn) -> Result<bool, ConnectError> {
    let client = connect(dsn, "test").await?;
    let sql = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    let encrypted = client.query_one(sql, &[]).await.unwrap().get(0);
    // The bare stream must have been negotiated alike.
    assert_eq!(dial(dsn).await?.is_tls(), encrypted);
    Ok(encrypted)
}

struct Case<'a> {
    server: &'a Server,
    name: &'a str,
    root: String,
}

impl Case<'_> {
    async fn accepts(&self, parameters: &str, tls: bool) {
        let dsn =
            self.server
                .dsn_by_name(self.name, "trusted", &format!("{parameters} {}", self.root));
        let encrypted = encrypted(&dsn).await;
        let encrypted =
            encrypted.unwrap_or_else(|error| panic!("{dsn}: {}", service::chain(&error)));
        assert_eq!(encrypted, tls, "{dsn}");
    }

    async fn refuses(&self, parameters: &str, because: &str) {
        let dsn =
            self.server
                .dsn_by_name(self.name, "trusted", &format!("{parameters} {}", self.root));
        let error = encrypted(&dsn).await.unwrap_err();
        let shown = service::chain(&error);
        assert!(shown.contains(because), "{dsn}: {shown}");
        assert!(!error.is_transient(), "{dsn}: {shown}");
    }
}

#[tokio::test]
async fn each_mode_verifies_what_it_promises() {
    let authority = Authority::create("ours");
    let cluster = Cluster::create().await;
    let server = cluster.start(Some(&authority.sign(EC, "-sha256"))).await;
    let with_root = |root: String| Case {
        server: &server,
        name: "localhost",
        root,
    };
    let root = |path: std::path::PathBuf| format!("sslrootcert={}", path.display());

    let good = with_root(root(authority.certificate()));
    good.accepts("sslmode=disable", false).await;
    good.accepts("sslmode=prefer", true).await;
    good.accepts("sslmode=require", true).await;
    good.accepts("sslmode=verify-ca", true).await;
    good.accepts("sslmode=verify-full", true).await;

    // The address is the same, the name is not the certificate's.
    let misnamed = Case {
        name: "db.example",
        ..good
    };
    misnamed.accepts("sslmode=require", true).await;
    misnamed.accepts("sslmode=verify-ca", true).await;
    misnamed
        .refuses("sslmode=verify-full", "not valid for name")
        .await;

    let stranger = Authority::create("stranger");
    let wrong = with_root(root(stranger.certificate()));
    wrong.accepts("sslmode=disable", false).await;
    // libpq verifies whenever a root certificate is there, and `prefer` then goes on without TLS.
    wrong.accepts("sslmode=prefer", false).await;
    wrong.refuses("sslmode=require", "UnknownIssuer").await;
    wrong.refuses("sslmode=verify-ca", "UnknownIssuer").await;
    wrong.refuses("sslmode=verify-full", "UnknownIssuer").await;

    let missing = with_root("sslrootcert=/nonexistent/root.crt".to_owned());
    missing.accepts("sslmode=prefer", true).await;
    missing.accepts("sslmode=require", true).await;
    missing
        .refuses("sslmode=verify-ca", "/nonexistent/root.crt does not exist")
        .await;
    missing
        .refuses(
            "sslmode=verify-full",
            "/nonexistent/root.crt does not exist",
        )
        .await;

    let system = with_root("sslrootcert=system".to_owned());
    system.refuses("sslmode=require", "verify-full").await;
    system.refuses("sslmode=verify-full", "UnknownIssuer").await;
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_demanded() {
    let cluster = Cluster::create().await;
    let server = cluster.start(None).await;
    let authority = Authority::create("ours");
    let case = Case {
        server: &server,
        name: "localhost",
        root: format!("sslrootcert={}", authority.certificate().display()),
    };
    case.accepts("sslmode=disable", false).await;
    case.accepts("sslmode=prefer", false).await;
    for mode in ["require", "verify-ca", "verify-full"] {
        let because = format!("the server does not offer TLS, and sslmode={mode} demands it");
        case.refuses(&format!("sslmode={mode}"), &because).await;
    }
}

#[tokio::test]
async fn the_password_is_bound_to_the_channel() {
    let cluster = Cluster::create().await;
    for (key, digest) in [
        (EC, "-sha256"),
        (EC, "-sha384"),
        (EC, "-sha512"),
        ("rsa:2048", "-sha256"),
        ("rsa:2048", "-sha384"),
        ("rsa:2048", "-sha512"),
    ] {
        let folder = TempDir::new().unwrap();
        let server = cluster
            .start(Some(&self_signed(folder.path(), key, digest)))
            .await;
        // The server compares our hash of its certificate with its own.
        let parameters = "password=pass:word sslmode=require channel_binding=require";
        let dsn = server.dsn("scram", parameters);
        assert!(encrypted(&dsn).await.unwrap(), "{key} {digest}");
    }
    let server = cluster.start(None).await;
    let dsn = server.dsn("scram", "password=pass:word channel_binding=require");
    assert!(
        connect(&dsn, "test").await.is_err(),
        "there is no channel to bind to"
    );
}

#[tokio::test]
async fn a_pool_gets_the_same_meanings() {
    let authority = Authority::create("ours");
    let cluster = Cluster::create().await;
    let server = cluster.start(Some(&authority.sign(EC, "-sha256"))).await;
    let root = authority.certificate();
    let open = async |name: &str, parameters: &str| {
        let parameters = format!("{parameters} sslrootcert={}", root.display());
        let dsn = server.dsn_by_name(name, "trusted", &parameters);
        let connector = tls_connector(&dsn).unwrap();
        dsn.tokio_config("test")
            .connect(connector)
            .await
            .map(|_| ())
    };
    open("localhost", "sslmode=verify-full").await.unwrap();
    open("db.example", "sslmode=verify-ca").await.unwrap();
    open("db.example", "sslmode=verify-full").await.unwrap_err();
}
