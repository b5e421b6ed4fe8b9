//! Articles in the database: the SQL.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use change::Lsn;
use chrono::{DateTime, Utc};
use deadpool_postgres::{GenericClient, Object};
use futures_util::future::try_join;
use tokio_postgres::Row;
use tokio_postgres::types::{PgLsn, ToSql};

use super::filter::Filter;
use super::model::{Article, ArticleId, Fields, Status};
use super::page::PageRequest;
use super::search::{EXCERPT_CHARACTERS, HIT_BEGINS, HIT_ENDS, Hit, SearchRequest, snippet};
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

pub(super) async fn insert(
    client: &impl GenericClient,
    fields: &Fields,
) -> Result<(Article, Lsn), QueryError> {
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

pub(super) async fn find(
    client: &impl GenericClient,
    id: ArticleId,
) -> Result<Option<Article>, QueryError> {
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
    client: &impl GenericClient,
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
pub(super) async fn position(client: &impl GenericClient) -> Result<Lsn, QueryError> {
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
/// Within a transaction, the position says nothing of the write.
async fn written<T>(
    client: &impl GenericClient,
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
    let mut conditions = Conditions::default();
    conditions.add_filter(&wanted.filter);
    let condition = conditions.sql();
    let count = format!("select count(*) from articles {condition}");
    let [limit, offset] = conditions.next_two();
    let page = format!(
        "select {COLUMNS} from articles {condition}
         order by created_at desc, id desc limit {limit} offset {offset}"
    );
    let (total, rows) = page_of(client, &count, &page, conditions, wanted).await?;
    Ok((total, rows.iter().map(article).collect()))
}

/// The number of articles that a text is found in, and one page of them, the best first.
pub(super) async fn search(
    client: &Object,
    wanted: &SearchRequest,
) -> Result<(i64, Vec<Hit>), QueryError> {
    // As an expression of constants and parameters, so that the index articles_by_word can serve.
    const QUERY: &str = "websearch_to_tsquery('pg_catalog.english', $1)";
    const DOCUMENT: &str = "articles_document(title, content, author, tags)";
    // Divided by the logarithm of the length, so that long texts do not win by being long, and
    // brought into 0 to 1 (manual, "Ranking Search Results").
    const NORMALIZATION: i32 = 1 | 32;
    // To rank is to read the text again: a word that stands everywhere would take seconds.
    const RANKED: i64 = 2000;
    let mut conditions = Conditions::default();
    conditions.values.push(Box::new(wanted.text.clone()));
    conditions.terms.push(format!("{DOCUMENT} @@ {QUERY}"));
    conditions.add_filter(&wanted.page.filter);
    let condition = conditions.sql();
    let count = format!("select count(*) from articles {condition}");
    let [limit, offset] = conditions.next_two();
    // Excerpts are dear: they are made for the rows of the page alone, after the limit, and of
    // as much text as is searched.
    let page = format!(
        "with hits as (
             select id, row_number() over (order by created_at desc, id desc) as age
             from articles {condition}
         ), page as (
             select {COLUMNS}, case
                 when age <= {RANKED} then ts_rank_cd({DOCUMENT}, {QUERY}, {NORMALIZATION})
                 else 0::real end as rank
             from hits join articles using (id)
             order by rank desc, created_at desc, id desc limit {limit} offset {offset}
         )
         select {COLUMNS}, rank,
             left(ts_headline('pg_catalog.english',
                 translate(left(content, 100000), '{HIT_BEGINS}{HIT_ENDS}', ''), {QUERY},
                 'StartSel=\"{HIT_BEGINS}\", StopSel=\"{HIT_ENDS}\", MaxWords=40, MinWords=20'
             ), {EXCERPT_CHARACTERS})
         from page order by rank desc, created_at desc, id desc"
    );
    let (total, rows) = page_of(client, &count, &page, conditions, &wanted.page).await?;
    let hits = rows.iter().map(|row| Hit {
        article: article(row),
        rank: row.get(12),
        snippet: snippet(row.get(13)),
    });
    Ok((total, hits.collect()))
}

/// The conditions of a query, and the values of their parameters. Only those that are asked for,
/// so that the planner sees which index fits: sixteen different statements at most.
#[derive(Default)]
struct Conditions {
    terms: Vec<String>,
    values: Vec<Box<dyn ToSql + Send + Sync>>,
}

impl Conditions {
    fn add_filter(&mut self, filter: &Filter) {
        if let Some(status) = filter.status {
            self.add("status = ", status.as_str());
        }
        if let Some(category) = &filter.category {
            self.add("category = ", category.clone());
        }
        if let Some(author) = &filter.author {
            self.add("author = ", author.clone());
        }
        if let Some(ids) = &filter.ids {
            let ids: Vec<i64> = ids.iter().map(|id| id.number()).collect();
            self.values.push(Box::new(ids));
            self.terms.push(format!("id = any(${})", self.values.len()));
        }
    }

    fn add(&mut self, comparison: &str, value: impl ToSql + Send + Sync + 'static) {
        self.values.push(Box::new(value));
        self.terms
            .push(format!("{comparison}${}", self.values.len()));
    }

    fn sql(&self) -> String {
        match self.terms.is_empty() {
            true => String::new(),
            false => format!("where {}", self.terms.join(" and ")),
        }
    }

    /// The names of the parameters after these.
    fn next_two(&self) -> [String; 2] {
        let count = self.values.len();
        [format!("${}", count + 1), format!("${}", count + 2)]
    }
}

/// Counts and reads a page in one round trip.
async fn page_of(
    client: &Object,
    count: &str,
    page: &str,
    conditions: Conditions,
    wanted: &PageRequest,
) -> Result<(i64, Vec<Row>), QueryError> {
    let (count, page) = try_join(client.prepare_cached(count), client.prepare_cached(page)).await?;
    let (limit, offset) = (wanted.per_page, wanted.offset());
    let values = conditions.values.iter();
    let filters: Vec<&(dyn ToSql + Sync)> = values.map(|value| &**value as _).collect();
    let mut values = filters.clone();
    values.extend([&limit as &(dyn ToSql + Sync), &offset]);
    let (count, rows) = try_join(
        client.query_one(&count, &filters),
        client.query(&page, &values),
    )
    .await?;
    Ok((count.get(0), rows))
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
