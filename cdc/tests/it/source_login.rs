//! Ways to log in, on a server with TLS.

use cdc::source::{Session, SourceError};
use service::Secret;
use service::postgres::Dsn;
use testkit::postgres::{Database, Server};

use crate::source_fixture::within;

const HBA: &str = "\
host all postgres     all scram-sha-256
host all trusted      all trust
host all md5_user     all md5
host all clear_user   all password
";

#[tokio::test]
async fn every_way_to_log_in_works_or_says_why_not() {
    let server = Server::start(&[]).await;
    let database = server.database().await;
    prepare(&database).await;
    // It reads its new files at the start.
    server.stop().await;
    server.restart().await;
    let client = database.client().await;
    client
        .batch_execute(
            "create role trusted login replication; \
             create role clear_user login replication password 'pw'; \
             set password_encryption = 'md5'; \
             create role md5_user login replication password 'pw'",
        )
        .await
        .unwrap();
    let dsn = |user: Option<&str>, parameters: &str| -> Dsn {
        let dsn: Dsn = format!("{}&{parameters}", database.dsn()).parse().unwrap();
        match user {
            Some(user) => dsn.with_user(user, &Secret::new("pw")),
            None => dsn,
        }
    };

    // SCRAM, without TLS, over it, and bound to it.
    accepts(&dsn(None, "")).await;
    accepts(&dsn(None, "sslmode=require")).await;
    accepts(&dsn(None, "sslmode=require&channel_binding=require")).await;
    refuses(&dsn(None, "channel_binding=require"), "channel_binding").await;
    // The others prove nothing about the server.
    accepts(&dsn(Some("trusted"), "")).await;
    refuses(
        &dsn(Some("trusted"), "sslmode=require&channel_binding=require"),
        "channel_binding",
    )
    .await;
    accepts(&dsn(Some("md5_user"), "")).await;
    accepts(&dsn(Some("clear_user"), "sslmode=require")).await;
    refuses(&dsn(Some("clear_user"), ""), "clear text").await;
    // No line in pg_hba.conf.
    refuses(&dsn(Some("stranger"), ""), "pg_hba.conf").await;
}

async fn accepts(dsn: &Dsn) {
    let mut session = within(Session::connect(dsn)).await.unwrap();
    within(session.identify_system()).await.unwrap();
}

async fn refuses(dsn: &Dsn, why: &str) {
    let error: SourceError = within(Session::connect(dsn)).await.err().unwrap();
    let cause = std::error::Error::source(&error).unwrap();
    let text = format!("{error}: {cause}");
    assert!(text.contains(why), "{text}");
    assert!(!error.is_transient());
}

/// Has the server write its own files: then they belong to its user.
async fn prepare(database: &Database) {
    let client = database.client().await;
    let hba = HBA.lines().map(|line| format!("('{line}')"));
    let hba = hba.collect::<Vec<_>>().join(",");
    for sql in [
        &format!("copy (values {hba}) to program 'cat > pg_hba.conf'"),
        "copy (select) to program 'openssl req -x509 -newkey ec -pkeyopt \
         ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
         -keyout server.key -out server.crt 2> /dev/null'",
        "alter system set ssl = on",
    ] {
        client.batch_execute(sql).await.unwrap();
    }
}
