//! Articles in the database: the SQL.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use change::Lsn;
use chrono::{DateTime, Utc};
use deadpool_postgres::Object;
use futures_util::future::try_join;
use tokio_postgres::Row;
use tokio_postgres::types::{PgLsn, ToSql};

use super::model::{Article, ArticleId, Fields, Status};
use super::page::PageRequest;
use crate::database::{Database, QueryError};

/// In the order in which [`article`] reads them.
const COLUMNS: &str = "id, title, content, author, category, tags, status, views_count, \
                       created_at, updated_at, published_at, version";

static INSERT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "insert into articles (title, content, author, category, tags, status, published_at)
         values ($1, $2, $3, $4, $5, $6, case when $6 = 'published' then now() end)
         returning {COLUMNS}"
    )
});

pub(super) async fn insert(client: &Object, fields: &Fields) -> Result<(Article, Lsn), QueryError> {
    let statement = client.prepare_cached(&INSERT).await?;
    let status = fields.status.as_str();
    let values: [&(dyn ToSql + Sync); 6] = [
        &fields.title,
        &fields.content,
        &fields.author,
        &fields.category,
        &fields.tags,
        &status,
    ];
    let (row, position) = written(client, client.query_one(&statement, &values)).await?;
    Ok((article(&row), position))
}

static FIND: LazyLock<String> =
    LazyLock::new(|| format!("select {COLUMNS} from articles where id = $1"));

pub(super) async fn find(client: &Object, id: ArticleId) -> Result<Option<Article>, QueryError> {
    let statement = client.prepare_cached(&FIND).await?;
    let row = client.query_opt(&statement, &[&id.number()]).await?;
    Ok(row.as_ref().map(article))
}

/// The trigger `articles_edited` raises the version.
static UPDATE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "update articles
         set title = $3, content = $4, author = $5, category = $6, tags = $7, status = $8,
             published_at = case when $8 = 'published' then coalesce(published_at, now())
                                 else published_at end
         where id = $1 and version = $2
         returning {COLUMNS}"
    )
});

/// Writes new fields, unless the article is no longer the version that was read.
pub(super) async fn update(
    client: &Object,
    read: &Article,
    fields: &Fields,
) -> Result<Option<(Article, Lsn)>, QueryError> {
    let statement = client.prepare_cached(&UPDATE).await?;
    let status = fields.status.as_str();
    let values: [&(dyn ToSql + Sync); 8] = [
        &read.id.number(),
        &read.version,
        &fields.title,
        &fields.content,
        &fields.author,
        &fields.category,
        &fields.tags,
        &status,
    ];
    let (row, position) = written(client, client.query_opt(&statement, &values)).await?;
    Ok(row.map(|row| (article(&row), position)))
}

/// Deletes the version that was read; none when it is another by now, or gone.
pub(super) async fn delete(client: &Object, read: &Article) -> Result<Option<Lsn>, QueryError> {
    let sql = "delete from articles where id = $1 and version = $2";
    let statement = client.prepare_cached(sql).await?;
    let values: [&(dyn ToSql + Sync); 2] = [&read.id.number(), &read.version];
    let (deleted, position) = written(client, client.execute(&statement, &values)).await?;
    Ok((deleted == 1).then_some(position))
}

/// The last byte of the log that is on disk: commits up to here are at a lower LSN, and those that
/// come at a higher one. A commit that does not wait for the disk is somewhere before the end.
const POSITION: &str = "
    select case current_setting('synchronous_commit')
           when 'off' then pg_current_wal_insert_lsn()
           else pg_current_wal_flush_lsn() end - 1";

/// Where DB1 stands: what was read before is not younger.
pub(super) async fn position(client: &Object) -> Result<Lsn, QueryError> {
    let statement = client.prepare_cached(POSITION).await?;
    Ok(lsn(&client.query_one(&statement, &[]).await?))
}

/// Where DB1 stands, and when that was, by its clock.
pub(crate) async fn position_of_primary(
    database: &Database,
) -> Result<(Lsn, DateTime<Utc>), QueryError> {
    let client = database.client().await?;
    let sql = format!("select ({POSITION}), clock_timestamp()");
    let statement = client.prepare_cached(&sql).await?;
    let row = client.query_one(&statement, &[]).await?;
    Ok((lsn(&row), row.get(1)))
}

/// Runs a statement that commits, and tells where DB1 stood right after: both in one round trip.
async fn written<T>(
    client: &Object,
    write: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<(T, Lsn), QueryError> {
    let statement = client.prepare_cached(POSITION).await?;
    // The first is sent first, and the server takes one after the other.
    let (outcome, row) = try_join(write, client.query_one(&statement, &[])).await?;
    Ok((outcome, lsn(&row)))
}

fn lsn(row: &Row) -> Lsn {
    Lsn::new(u64::from(row.get::<_, PgLsn>(0)))
}

/// The number of articles that fit, and one page of them, the youngest first.
pub(super) async fn list(
    client: &Object,
    wanted: &PageRequest,
) -> Result<(i64, Vec<Article>), QueryError> {
    let status = wanted.status.map(Status::as_str);
    let (limit, offset) = (wanted.per_page, wanted.offset());
    // Only the conditions that are asked for, so that the planner sees which index fits: eight
    // different statements at most.
    let mut conditions: Vec<String> = Vec::new();
    let mut values: Vec<&(dyn ToSql + Sync)> = Vec::new();
    if let Some(status) = &status {
        values.push(status);
        conditions.push(format!("status = ${}", values.len()));
    }
    if let Some(category) = &wanted.category {
        values.push(category);
        conditions.push(format!("category = ${}", values.len()));
    }
    if let Some(author) = &wanted.author {
        values.push(author);
        conditions.push(format!("author = ${}", values.len()));
    }
    let condition = match conditions.is_empty() {
        true => String::new(),
        false => format!("where {}", conditions.join(" and ")),
    };
    let count = format!("select count(*) from articles {condition}");
    let page = format!(
        "select {COLUMNS} from articles {condition} order by created_at desc, id desc limit ${} offset ${}",
        values.len() + 1,
        values.len() + 2
    );
    let (count, page) =
        try_join(client.prepare_cached(&count), client.prepare_cached(&page)).await?;
    let filters = values.clone();
    values.push(&limit);
    values.push(&offset);
    // Both in one round trip.
    let (count, rows) = try_join(
        client.query_one(&count, &filters),
        client.query(&page, &values),
    )
    .await?;
    Ok((count.get(0), rows.iter().map(article).collect()))
}

/// Adds to the counts of views; ids that are gone are left out.
pub(super) async fn add_views(
    database: &Database,
    ids: &[i64],
    views: &[i64],
) -> Result<(), QueryError> {
    let sql = "update articles set views_count = views_count + counted.views
               from unnest($1::bigint[], $2::bigint[]) as counted (id, views)
               where articles.id = counted.id";
    let client = database.client().await?;
    let statement = client.prepare_cached(sql).await?;
    client.execute(&statement, &[&ids, &views]).await?;
    Ok(())
}

/// How many articles there are of each status that occurs.
pub(crate) async fn count_by_status(
    database: &Database,
) -> Result<BTreeMap<Status, i64>, QueryError> {
    let sql = "select status, count(*) from articles group by status";
    let client = database.client().await?;
    let statement = client.prepare_cached(sql).await?;
    let rows = client.query(&statement, &[]).await?;
    let counts = rows.iter().map(|row| (status(row.get(0)), row.get(1)));
    Ok(counts.collect())
}

fn article(row: &Row) -> Article {
    Article {
        id: ArticleId::new(row.get(0)),
        fields: Fields {
            title: row.get(1),
            content: row.get(2),
            author: row.get(3),
            category: row.get(4),
            tags: row.get(5),
            status: status(row.get(6)),
        },
        views_count: row.get(7),
        created_at: row.get::<_, DateTime<Utc>>(8),
        updated_at: row.get::<_, DateTime<Utc>>(9),
        published_at: row.get::<_, Option<DateTime<Utc>>>(10),
        version: row.get(11),
    }
}

fn status(text: &str) -> Status {
    Status::parse(text).expect("the constraint articles_status_known allows no other")
}
