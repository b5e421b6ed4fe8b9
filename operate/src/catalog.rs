//! What the databases' catalogs say about tables.

use anyhow::Context;
use change::{OWN_SCHEMA, TableName};
use tokio_postgres::{Client, Row};

/// A table that the publication publishes, as the source has it.
#[derive(Clone, Debug)]
pub struct PublishedTable {
    pub name: TableName,
    /// Those that are published.
    pub columns: Vec<Column>,
    pub identity: Identity,
    /// The publication's condition for rows, over the table's columns; none where all are published.
    pub filter: Option<String>,
    /// Whether updates and deletes are published, which Postgres refuses under NOTHING.
    pub changes_rows: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// As `format_type` writes it: `numeric(10,2)`.
    pub type_name: String,
    /// Published though it is generated: both sides work its values out, nobody writes them.
    pub generated: bool,
}

/// What tells one row of a table from another in the stream (manual, "Replica Identity").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// By these columns.
    Key(Vec<String>),
    /// All columns of the old row are sent, and there is no primary key among them.
    Full,
    None,
}

pub async fn has_publication(client: &Client, publication: &str) -> anyhow::Result<bool> {
    let query = "select 1 from pg_publication where pubname = $1";
    let row = client.query_opt(query, &[&publication]).await;
    Ok(row.context("look the publication up")?.is_some())
}

/// The tables of `publication` in the order of their names; when it does not exist, those that it
/// would have once capture makes it, which are all. Without our own: those are not captured.
///
/// # Errors
/// When the catalog cannot be read.
pub async fn published(client: &Client, publication: &str) -> anyhow::Result<Vec<PublishedTable>> {
    let all = Slice {
        name: "",
        skip: 0,
        limit: i64::MAX,
    };
    Ok(published_slice(client, publication, &all).await?.tables)
}

/// Which of the published tables are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'n> {
    /// A part of `schema.table`; all when empty.
    pub name: &'n str,
    pub skip: i64,
    pub limit: i64,
}

/// Some of the published tables.
#[derive(Debug)]
pub struct Published {
    /// How many there are in all that were asked for; unknown, as 0, behind the last of them.
    pub total: i64,
    pub tables: Vec<PublishedTable>,
}

/// Some of what [`published`] tells, without the costs of the others.
///
/// # Errors
/// When the catalog cannot be read.
pub async fn published_slice(
    client: &Client,
    publication: &str,
    slice: &Slice<'_>,
) -> anyhow::Result<Published> {
    let query = match has_publication(client, publication).await? {
        true => PUBLISHED,
        false => PUBLISHABLE,
    };
    let rows = client
        .query(
            // The view behind `attnames` is slow: once for each table, not for each of its columns.
            &format!("with published as materialized ({query}){TABLES}"),
            &[
                &publication,
                &OWN_SCHEMA,
                &slice.name,
                &slice.skip,
                &slice.limit,
            ],
        )
        .await
        .context("read the published tables from the catalog")?;
    Ok(Published {
        total: rows.first().map_or(0, |row| row.get("total")),
        tables: rows.iter().map(published_table).collect(),
    })
}

/// Before version 15 there are no column lists and no row filters; `to_jsonb` gives null for what a
/// version lacks.
const PUBLISHED: &str = "
    select c.oid, n.nspname, c.relname, c.relreplident, p.pubupdate or p.pubdelete as changes_rows,
           to_jsonb(t) -> 'attnames' as attnames, to_jsonb(t) ->> 'rowfilter' as filter
      from pg_publication_tables t
      join pg_publication p on p.pubname = t.pubname
      join pg_namespace n on n.nspname = t.schemaname
      join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename
     where t.pubname = $1 and n.nspname <> $2";

/// What FOR ALL TABLES publishes. The name is a parameter that the query has to use.
const PUBLISHABLE: &str = "
    select c.oid, n.nspname, c.relname, c.relreplident, true as changes_rows,
           null::jsonb as attnames, null::text as filter
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind = 'r' and c.relpersistence = 'p' and c.oid >= 16384
       and pg_relation_is_publishable(c.oid) and n.nspname <> $2
       and $1::text is not null";

const TABLES: &str = ",
shown as (
    select *, count(*) over () as total from published
     where position($3 in nspname || '.' || relname) > 0
     order by nspname, relname offset $4 limit $5
)
select p.total, p.nspname::text, p.relname::text, p.filter,
       p.changes_rows and p.relreplident <> 'n' as changes_rows, p.relreplident = 'f' as is_full,
       c.columns, c.types, c.generated,
       array(select a.attname::text from pg_index i
              join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey::int2[])
              where i.indrelid = p.oid
                and (p.relreplident in ('d', 'f') and i.indisprimary
                     or p.relreplident = 'i' and i.indisreplident)
              order by a.attnum) as key
  from shown p
 cross join lateral (
       select array_agg(a.attname::text order by a.attnum) as columns,
              array_agg(format_type(a.atttypid, a.atttypmod) order by a.attnum) as types,
              array_agg(a.attgenerated <> '' order by a.attnum) as generated
         from pg_attribute a
        where a.attrelid = p.oid and a.attnum > 0 and not a.attisdropped
          and (p.attnames is null or p.attnames = 'null' or p.attnames ? a.attname::text)
          and (a.attgenerated = ''
               or current_setting('server_version_num')::int >= 180000
                  and p.attnames ? a.attname::text)) c
 order by 2, 3";

fn published_table(row: &Row) -> PublishedTable {
    let names: Option<Vec<String>> = row.get("columns");
    let types: Option<Vec<String>> = row.get("types");
    let generated: Option<Vec<bool>> = row.get("generated");
    let columns = names.into_iter().flatten();
    let columns = columns.zip(types.into_iter().flatten());
    let columns = columns.zip(generated.into_iter().flatten());
    let key: Vec<String> = row.get("key");
    PublishedTable {
        name: TableName::new(
            row.get::<_, String>("nspname"),
            row.get::<_, String>("relname"),
        ),
        columns: columns
            .map(|((name, type_name), generated)| Column {
                name,
                type_name,
                generated,
            })
            .collect(),
        identity: match (key.is_empty(), row.get("is_full")) {
            (false, _) => Identity::Key(key),
            (true, true) => Identity::Full,
            (true, false) => Identity::None,
        },
        filter: row.get("filter"),
        changes_rows: row.get("changes_rows"),
    }
}

/// A table on the target.
#[derive(Clone, Debug)]
pub struct TargetTable {
    pub columns: Vec<TargetColumn>,
    /// The columns, sorted, of every unique index that can find a row.
    pub unique: Vec<Vec<String>>,
}

#[derive(Clone, Debug)]
pub struct TargetColumn {
    pub name: String,
    pub type_name: String,
    pub not_null: bool,
    /// NOT NULL, and nothing fills it in.
    pub must_be_given: bool,
    pub filled: Filled,
}

/// Whether a column takes values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    ByWriters,
    /// `generated always as (…)`
    ByExpression,
    /// `generated always as identity`: takes what an insert gives, with a word more, and no updates.
    ByIdentity,
}

/// The table of that name on the target; `None` when there is none.
///
/// # Errors
/// When the catalog cannot be read.
pub async fn target_table(
    client: &Client,
    table: &TableName,
) -> anyhow::Result<Option<TargetTable>> {
    let row = client
        .query_opt(TARGET_TABLE, &[&table.schema, &table.name])
        .await
        .with_context(|| format!("read table {table} from the catalog"))?;
    Ok(row.map(|row| {
        let names: Vec<String> = row.get("columns");
        let types: Vec<String> = row.get("types");
        let not_null: Vec<bool> = row.get("not_null");
        let must: Vec<bool> = row.get("must_be_given");
        let filled: Vec<String> = row.get("filled");
        let columns = names.into_iter().zip(types).zip(not_null).zip(must);
        let columns = columns.zip(filled);
        let unique: Vec<String> = row.get("unique_indexes");
        TargetTable {
            columns: columns
                .map(
                    |((((name, type_name), not_null), must_be_given), filled)| TargetColumn {
                        name,
                        type_name,
                        not_null,
                        must_be_given,
                        filled: match filled.as_str() {
                            "expression" => Filled::ByExpression,
                            "identity" => Filled::ByIdentity,
                            _ => Filled::ByWriters,
                        },
                    },
                )
                .collect(),
            unique: unique
                .iter()
                .map(|columns| serde_json::from_str(columns).unwrap_or_default())
                .collect(),
        }
    }))
}

const TARGET_TABLE: &str = "
with columns as (
    select a.*, d.oid is not null as has_default from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
      join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
     where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p')
)
select array(select attname::text from columns order by attnum) as columns,
       array(select format_type(atttypid, atttypmod) from columns order by attnum) as types,
       array(select attnotnull from columns order by attnum) as not_null,
       array(select attnotnull and not has_default and attidentity = '' from columns
              order by attnum) as must_be_given,
       array(select case when attgenerated <> '' then 'expression'
                         when attidentity = 'a' then 'identity' else 'writers' end
               from columns order by attnum) as filled,
       array(select (select jsonb_agg(a.attname order by a.attname)::text from columns a
                      where a.attnum = any (i.indkey::int2[]))
               from pg_index i
              where i.indrelid = c.oid and i.indisunique and i.indisvalid
                and i.indpred is null and i.indexprs is null) as unique_indexes
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p')";
