//! Brings DB1's schema up to date.

use tokio_postgres::{Client, Error};

/// In the order in which they apply; an applied one is never changed.
const MIGRATIONS: [(i32, &str); 3] = [(1, ARTICLES), (2, SEARCH), (3, IDEMPOTENCY)];

const ARTICLES: &str = include_str!("../../sql/source/0001_articles.sql");

const SEARCH: &str = include_str!("../../sql/source/0002_search.sql");

/// Writes need it, so a replica does not.
const IDEMPOTENCY: &str = include_str!("../../sql/source/0003_idempotency.sql");

/// Applies the migrations that the database does not have yet. Several services may do so at once.
///
/// Not cancel-safe: given up half way, the connection is left inside a transaction; drop it.
///
/// # Errors
///
/// When a statement fails; nothing of that migration is then kept.
pub async fn migrate(client: &Client) -> Result<(), MigrateError> {
    if applied(client).await? >= LATEST {
        // The usual start needs no right to create anything, and takes no lock.
        return Ok(());
    }
    client
        .batch_execute("begin")
        .await
        .map_err(MigrateError::Transaction)?;
    match apply(client).await {
        Ok(()) => client
            .batch_execute("commit")
            .await
            .map_err(MigrateError::Transaction),
        Err(error) => {
            client
                .batch_execute("rollback")
                .await
                .map_err(MigrateError::Transaction)?;
            Err(error)
        }
    }
}

/// Makes on a replica what reads need, unless it is there. The rows come by replication, and so does
/// the table that tells which migrations the primary has.
///
/// # Errors
/// When a statement fails.
pub async fn prepare_replica(client: &Client) -> Result<(), MigrateError> {
    for (number, sql, made) in [(1, ARTICLES, "articles"), (2, SEARCH, "articles_by_word")] {
        let exists = "select to_regclass($1) is not null";
        let exists = client
            .query_one(exists, &[&made])
            .await
            .map_err(MigrateError::Read)?;
        if !exists.get::<_, bool>(0) {
            let made = client.batch_execute(sql).await;
            made.map_err(|source| MigrateError::Apply { number, source })?;
        }
    }
    Ok(())
}

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error("read which migrations are applied")]
    Read(#[source] Error),
    #[error("apply migration {number}")]
    Apply {
        number: i32,
        #[source]
        source: Error,
    },
    #[error("control the transaction of a migration")]
    Transaction(#[source] Error),
}

impl MigrateError {
    /// The failed statement's own error.
    pub fn cause(&self) -> &Error {
        match self {
            Self::Read(source) | Self::Apply { source, .. } | Self::Transaction(source) => source,
        }
    }
}

const LATEST: i32 = MIGRATIONS[MIGRATIONS.len() - 1].0;

async fn applied(client: &Client) -> Result<i32, MigrateError> {
    let exists = "select to_regclass('articles_migrations') is not null";
    let exists = client
        .query_one(exists, &[])
        .await
        .map_err(MigrateError::Read)?;
    if !exists.get::<_, bool>(0) {
        return Ok(0);
    }
    let number = "select coalesce(max(number), 0) from articles_migrations";
    let number = client
        .query_one(number, &[])
        .await
        .map_err(MigrateError::Read)?;
    Ok(number.get(0))
}

async fn apply(client: &Client) -> Result<(), MigrateError> {
    client
        .batch_execute(PREPARE)
        .await
        .map_err(MigrateError::Read)?;
    // Another service may have been first; its commit let go of the lock.
    let applied = applied(client).await?;
    for (number, sql) in MIGRATIONS
        .into_iter()
        .filter(|(number, _)| *number > applied)
    {
        let failed = |source| MigrateError::Apply { number, source };
        client.batch_execute(sql).await.map_err(failed)?;
        let insert = "insert into articles_migrations (number) values ($1)";
        client.execute(insert, &[&number]).await.map_err(failed)?;
        tracing::info!(number, "applied migration of the articles");
    }
    Ok(())
}

/// The lock comes first: of two `create table if not exists` at once, one fails.
const PREPARE: &str = "
    select pg_advisory_xact_lock(hashtext('articles_migrations'));
    create table if not exists articles_migrations (
        number integer primary key,
        applied_at timestamptz not null default now()
    );
";
