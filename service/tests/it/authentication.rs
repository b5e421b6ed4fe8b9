//! Who is let in, and what is said to who is not.

use service::postgres::{connect, tls_connector};

use crate::certificate::{Authority, EC};
use crate::server::Cluster;

#[tokio::test]
async fn passwords_and_trust() {
    let cluster = Cluster::create().await;
    let server = cluster
        .start(Some(&Authority::create("ours").sign(EC, "-sha256")))
        .await;
    for (user, parameters) in [
        ("trusted", "sslmode=disable"),
        ("scram", "sslmode=disable password=pass:word"),
        ("scram", "sslmode=require password=pass:word"),
        ("encrypted", "sslmode=prefer"),
    ] {
        let dsn = server.dsn(user, parameters);
        let client = connect(&dsn, "who-is-it").await.unwrap();
        let row = client
            .query_one(
                "select session_user::text, current_setting('application_name')",
                &[],
            )
            .await
            .unwrap();
        let session: (String, String) = (row.get(0), row.get(1));
        assert_eq!(session, (user.to_owned(), "who-is-it".to_owned()));
    }
}

#[tokio::test]
async fn a_refusal_names_everything_but_the_password() {
    let cluster = Cluster::create().await;
    let server = cluster.start(None).await;
    for (user, parameters, because) in [
        (
            "scram",
            "password=hunter2",
            "password authentication failed",
        ),
        ("scram", "", "password missing"),
        (
            "trusted",
            "dbname=nowhere password=hunter2",
            "database \"nowhere\" does not exist",
        ),
        ("nobody", "password=hunter2", "no pg_hba.conf entry"),
    ] {
        let dsn = server.dsn(user, parameters);
        let error = connect(&dsn, "test").await.unwrap_err();
        let shown = service::chain(&error);
        assert!(shown.contains(because), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(!error.is_transient(), "{shown}");
        let where_to = format!(
            "localhost:{}, database {}, user {user}",
            server.port,
            dsn.dbname()
        );
        assert!(shown.contains(&where_to), "{shown}");
    }
}

#[tokio::test]
async fn a_missing_database_is_no_passing_state() {
    let cluster = Cluster::create().await;
    let server = cluster.start(None).await;
    let dsn = server.dsn("trusted", "").with_dbname("nowhere");
    let error = connect(&dsn, "test").await.unwrap_err();
    let shown = service::chain(&error);
    assert!(
        shown.contains("database \"nowhere\" does not exist"),
        "{shown}"
    );
    assert!(!error.is_transient(), "{shown}");
}

#[tokio::test]
async fn a_certificate_can_stand_for_a_password() {
    let authority = Authority::create("ours");
    let cluster = Cluster::create().await;
    let server = cluster.start(Some(&authority.sign(EC, "-sha256"))).await;
    let own = authority.signed("client", "/CN=certified", EC, "-sha256");
    let (certificate, key) = (own.certificate.display(), own.key.display());
    let parameters = format!("sslmode=require sslcert={certificate} sslkey={key}");
    connect(&server.dsn("certified", &parameters), "test")
        .await
        .unwrap();

    let error = connect(&server.dsn("certified", "sslmode=require"), "test")
        .await
        .unwrap_err();
    assert!(service::chain(&error).contains("requires a valid client certificate"));
    let half = format!("sslmode=require sslcert={certificate}");
    let error = connect(&server.dsn("certified", &half), "test")
        .await
        .unwrap_err();
    assert!(service::chain(&error).contains("sslcert and sslkey"));
}

#[tokio::test]
async fn a_full_server_is_worth_another_try() {
    let cluster = Cluster::create().await;
    let server = cluster.start(None).await;
    let dsn = server.dsn("trusted", "");
    let mut sessions = Vec::new();
    let error = loop {
        match connect(&dsn, "test").await {
            Ok(session) => sessions.push(session),
            Err(error) => break error,
        }
        assert!(sessions.len() < 20, "max_connections is 10");
    };
    assert!(error.is_transient(), "{}", service::chain(&error));
}

#[tokio::test]
async fn a_unix_socket_needs_no_tls() {
    let cluster = Cluster::create().await;
    let server = cluster.start(None).await;
    let socket = cluster.socket().display();
    let text = format!(
        "host={socket} port={} user=postgres sslmode=verify-full",
        server.port
    );
    let dsn = text.parse().unwrap();
    connect(&dsn, "test").await.unwrap();
    let pool_config = dsn.tokio_config("test");
    let connector = tls_connector(&server.dsn("postgres", "")).unwrap();
    let (_client, _connection) = pool_config.connect(connector).await.unwrap();
}
