//! What the source's catalog says of published tables and their types.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use change::relation::{Column, Key, PgType, Relation};
use change::value::{BaseType, Mapping};
use change::{OWN_SCHEMA, TableName};
use service::postgres::passes;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use crate::wire::Oid;
use crate::wire::pgoutput::{self, KeyColumn, ReplicaIdentity};

/// A table's shape as pgoutput announces it, or as the catalog has it for a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub oid: Oid,
    pub table: TableName,
    pub identity: ReplicaIdentity,
    pub columns: Vec<ShapeColumn>,
}

/// A table and what of it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    pub shape: Shape,
    /// The publication's condition for rows, over the table's columns; none where all are published.
    pub filter: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShapeColumn {
    pub name: String,
    pub type_oid: Oid,
    pub type_modifier: i32,
    /// Whether it is part of the replica identity.
    pub identity: bool,
}

/// Why a table cannot be captured.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("read the source's catalog")]
    Query(#[source] tokio_postgres::Error),
    #[error(
        "table {0} has no replica identity, so its updates and deletes could not be told apart: \
         give it a primary key, or `alter table {quoted} replica identity full`", quoted = .0.quoted()
    )]
    NoIdentity(TableName),
    #[error(
        "table {table}: type {type_name} of column {column} cannot be sent in binary, because {part} in it \
         cannot: leave the column out of the publication"
    )]
    NoBinary {
        table: TableName,
        column: String,
        type_name: String,
        part: String,
    },
    #[error("type {oid} of column {column} of table {table} is not in the catalog any more")]
    TypeGone {
        table: TableName,
        column: String,
        oid: Oid,
    },
}

impl CatalogError {
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Query(error) => passes(error),
            Self::NoIdentity(_) | Self::NoBinary { .. } | Self::TypeGone { .. } => false,
        }
    }
}

impl From<&pgoutput::Relation<'_>> for Shape {
    fn from(relation: &pgoutput::Relation<'_>) -> Self {
        let column = |column: &pgoutput::RelationColumn<'_>| ShapeColumn {
            name: column.name.to_owned(),
            type_oid: column.type_oid,
            type_modifier: column.type_modifier,
            identity: column.key == KeyColumn::Yes,
        };
        Self {
            oid: relation.oid,
            table: TableName::new(relation.namespace, relation.name),
            identity: relation.replica_identity,
            columns: relation.columns.iter().map(column).collect(),
        }
    }
}

/// The tables that `publication` publishes, in the order of their names, without our own.
///
/// # Errors
/// When one of them has no replica identity.
pub(crate) async fn published(
    client: &Client,
    publication: &str,
) -> Result<Vec<Published>, CatalogError> {
    look_up(client, publication, None).await
}

/// One of them, if it is one.
///
/// # Errors
/// When it has no replica identity.
pub(crate) async fn published_table(
    client: &Client,
    publication: &str,
    table: &TableName,
) -> Result<Option<Published>, CatalogError> {
    let tables = look_up(client, publication, Some(table)).await?;
    Ok(tables.into_iter().next())
}

async fn look_up(
    client: &Client,
    publication: &str,
    table: Option<&TableName>,
) -> Result<Vec<Published>, CatalogError> {
    let schema = table.map(|table| table.schema.as_str());
    let name = table.map(|table| table.name.as_str());
    let rows = client
        .query(PUBLISHED, &[&publication, &OWN_SCHEMA, &schema, &name])
        .await
        .map_err(CatalogError::Query)?;
    let mut tables: Vec<Published> = Vec::new();
    for row in rows {
        let oid: Oid = row.get("oid");
        if tables.last().is_none_or(|table| table.shape.oid != oid) {
            tables.push(Published {
                shape: shape(&row, oid)?,
                filter: row.get("filter"),
            });
        }
        let last = tables.last_mut().expect("pushed above when there was none");
        // A table of generated columns only has none.
        if let Some(name) = row.get("column_name") {
            last.shape.columns.push(ShapeColumn {
                name,
                type_oid: row.get("atttypid"),
                type_modifier: row.get("atttypmod"),
                identity: row.get("in_identity"),
            });
        }
    }
    Ok(tables)
}

/// A table without an identity whose rows are inserted only is fine.
fn shape(row: &Row, oid: Oid) -> Result<Shape, CatalogError> {
    let table = TableName::new(
        row.get::<_, String>("nspname"),
        row.get::<_, String>("relname"),
    );
    let identity = match row.get::<_, &str>("relreplident") {
        "f" => ReplicaIdentity::Full,
        "i" => ReplicaIdentity::Index,
        "n" => ReplicaIdentity::Nothing,
        _ => ReplicaIdentity::Default,
    };
    // Who has set NOTHING has chosen that rows are inserted only.
    let has_none = !row.get::<_, bool>("has_identity") && identity != ReplicaIdentity::Nothing;
    if has_none && row.get::<_, bool>("changes_rows") {
        return Err(CatalogError::NoIdentity(table));
    }
    Ok(Shape {
        oid,
        table,
        identity,
        columns: Vec::new(),
    })
}

/// Columns as pgoutput sends them. Before version 15 a publication has no column lists and no row
/// filters, and has no generated columns; where there are, `pg_publication_tables` tells what comes out of
/// all the parts of a publication.
const PUBLISHED: &str = "
with published as materialized (
    select c.oid, n.nspname, c.relname, c.relreplident::text,
           p.pubupdate or p.pubdelete as changes_rows,
           to_jsonb(t) -> 'attnames' as attnames, to_jsonb(t) ->> 'rowfilter' as filter,
           exists (select 1 from pg_index i
                    where i.indrelid = c.oid
                      and (c.relreplident = 'd' and i.indisprimary
                           or c.relreplident = 'i' and i.indisreplident)) as by_index
      from pg_publication_tables t
      join pg_publication p on p.pubname = t.pubname
      join pg_namespace n on n.nspname = t.schemaname
      join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename
     where t.pubname = $1 and n.nspname <> $2
       and ($3::text is null or n.nspname = $3 and c.relname = $4::text)
)
select p.oid, p.nspname::text, p.relname::text, p.relreplident, p.changes_rows, p.filter,
       p.relreplident = 'f' or p.by_index as has_identity,
       a.attname::text as column_name, a.atttypid, a.atttypmod,
       case p.relreplident
            when 'f' then true
            when 'n' then false
            else exists (select 1 from pg_index i
                          where i.indrelid = p.oid and a.attnum = any (i.indkey::int2[])
                            and (p.relreplident = 'd' and i.indisprimary
                                 or p.relreplident = 'i' and i.indisreplident))
       end as in_identity
  from published p
  left join pg_attribute a
    on a.attrelid = p.oid and a.attnum > 0 and not a.attisdropped
   and (a.attgenerated = ''
        or current_setting('server_version_num')::int >= 180000 and p.attnames ? a.attname::text)
   and (p.attnames is null or p.attnames = 'null' or p.attnames ? a.attname::text)
 order by p.nspname, p.relname, a.attnum";

/// The ancestor through which the publication has the rows of a partition; none where it has them as
/// its own. `parent` is what it is told to be a partition of: readers may not be shown that yet.
///
/// # Errors
/// When the catalog cannot be read.
pub(crate) async fn published_through(
    client: &Client,
    publication: &str,
    partition: Oid,
    parent: Option<&TableName>,
) -> Result<Option<Oid>, CatalogError> {
    let schema = parent.map(|parent| parent.schema.as_str());
    let name = parent.map(|parent| parent.name.as_str());
    let parameters: [&(dyn ToSql + Sync); 4] = [&publication, &partition, &schema, &name];
    let row = client.query_opt(PUBLISHED_THROUGH, &parameters).await;
    let row = row.map_err(CatalogError::Query)?;
    Ok(row.map(|row| row.get(0)))
}

const PUBLISHED_THROUGH: &str = "
select c.oid
  from (select relid from pg_partition_ancestors($2::oid)
        union
        select a.relid from pg_class p
          join pg_namespace n on n.oid = p.relnamespace
          cross join pg_partition_ancestors(p.oid) a
         where n.nspname = $3 and p.relname = $4) a
  join pg_class c on c.oid = a.relid and c.oid <> $2::oid
  join pg_namespace n on n.oid = c.relnamespace
  join pg_publication_tables t on t.schemaname = n.nspname and t.tablename = c.relname
 where t.pubname = $1
 limit 1";

/// The columns that tell a table's rows apart, in the order of their index; none without one.
///
/// # Errors
/// When the catalog cannot be read.
pub(crate) async fn key_columns(client: &Client, table: Oid) -> Result<Vec<String>, CatalogError> {
    let row = client.query_opt(KEY, &[&table]).await;
    let row = row.map_err(CatalogError::Query)?;
    Ok(row.map(|row| row.get(0)).unwrap_or_default())
}

const KEY: &str = "
select array(select a.attname::text
               from unnest(i.indkey::int2[]) with ordinality as k (attnum, place)
               join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
              where k.place <= i.indnkeyatts order by k.place)
  from pg_index i join pg_class c on c.oid = i.indrelid
 where c.oid = $1 and (c.relreplident in ('d', 'f') and i.indisprimary
                       or c.relreplident = 'i' and i.indisreplident)";

/// The relation for `shape`, its types looked up. The catalog is that of now: of a table that is gone by
/// now, or a column that is called otherwise, `before` tells the key, and of a type that is gone what it
/// was.
///
/// # Errors
/// When a type cannot travel in binary, or is gone.
pub(crate) async fn describe(
    client: &Client,
    shape: &Shape,
    before: Option<&Relation>,
) -> Result<Relation, CatalogError> {
    let rows = client
        .query(COLUMNS, &[&shape.oid])
        .await
        .map_err(CatalogError::Query)?;
    let known: HashMap<String, Row> = rows
        .into_iter()
        .map(|row| (row.get("column_name"), row))
        .collect();
    let key_before = |column: &ShapeColumn| {
        let before = before.filter(|it| it.key == Key::Columns);
        before.is_some_and(|it| it.key_columns().any(|key| key.name == column.name))
    };
    let primary = |column: &ShapeColumn| match known.get(&column.name) {
        Some(row) => row.get::<_, bool>("in_primary_key"),
        None => key_before(column),
    };
    // Under FULL every column is flagged; the primary key, where there is one, tells rows apart.
    let by_primary_key = shape.identity == ReplicaIdentity::Full;
    let in_key = |column: &ShapeColumn| match by_primary_key {
        true => primary(column),
        false => column.identity,
    };
    let key = match shape.columns.iter().any(in_key) {
        true => Key::Columns,
        false => Key::WholeRow,
    };
    let mut columns = Vec::with_capacity(shape.columns.len());
    // A table may have many columns, and has few types.
    let mut types = HashMap::new();
    for column in &shape.columns {
        let catalog = known.get(&column.name);
        let (mapping, pg_type) = match types.entry((column.type_oid, column.type_modifier)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let found = match column_type(client, shape, column).await? {
                    None => type_before(client, before, column).await?,
                    found => found,
                };
                unknown.insert(found.ok_or_else(|| CatalogError::TypeGone {
                    table: shape.table.clone(),
                    column: column.name.clone(),
                    oid: column.type_oid,
                })?)
            }
        };
        columns.push(Column {
            name: column.name.clone(),
            in_key: key == Key::WholeRow || in_key(column),
            mapping: *mapping,
            pg_type: pg_type.clone(),
            not_null: catalog.is_some_and(|row| row.get("attnotnull")),
            default: catalog.and_then(|row| row.get("default")),
            generated: catalog.is_some_and(|row| row.get("is_generated")),
        });
    }
    Ok(Relation {
        table: shape.table.clone(),
        key,
        columns,
    })
}

const COLUMNS: &str = "
select a.attname::text as column_name, a.attnotnull, a.attgenerated <> '' as is_generated,
       pg_get_expr(d.adbin, d.adrelid) as \"default\",
       exists (select 1 from pg_index i
                where i.indrelid = a.attrelid and i.indisprimary
                  and a.attnum = any (i.indkey::int2[])) as in_primary_key
  from pg_attribute a
  left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
 where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped";

/// What the column's type was when it was described last. Only types of users are ever gone: a column
/// that had one of Postgres' own has got another since.
async fn type_before(
    client: &Client,
    before: Option<&Relation>,
    column: &ShapeColumn,
) -> Result<Option<(Mapping, PgType)>, CatalogError> {
    let known = before.and_then(|it| it.columns.iter().find(|it| it.name == column.name));
    let Some(known) = known.filter(|it| it.pg_type.modifier == column.type_modifier) else {
        return Ok(None);
    };
    let sql = "select coalesce(to_regtype($1)::oid >= 16384, true)";
    let row = client.query_one(sql, &[&known.pg_type.name]).await;
    let is_of_users: bool = row.map_err(CatalogError::Query)?.get(0);
    Ok(is_of_users.then(|| (known.mapping, known.pg_type.clone())))
}

/// None where it is gone.
async fn column_type(
    client: &Client,
    shape: &Shape,
    column: &ShapeColumn,
) -> Result<Option<(Mapping, PgType)>, CatalogError> {
    let row = client
        .query_opt(TYPE, &[&column.type_oid, &column.type_modifier])
        .await
        .map_err(CatalogError::Query)?;
    let Some(row) = row else {
        return Ok(None);
    };
    let base = |prefix: &str| BaseType {
        oid: row.get(format!("{prefix}oid").as_str()),
        modifier: row.get("modifier"),
        is_enum: row.get(format!("{prefix}is_enum").as_str()),
        has_send: row.get(format!("{prefix}has_send").as_str()),
    };
    let pg_type = PgType {
        name: row.get("type_name"),
        modifier: column.type_modifier,
        enum_labels: row
            .get::<_, Option<Vec<String>>>("enum_labels")
            .unwrap_or_default(),
    };
    let mapping = match row.get::<_, Option<Oid>>("declared_element_oid") {
        None => Mapping::of(base("")),
        // Images name the declared element type, also where that is a domain.
        Some(declared) => match Mapping::of_array(base("element_")) {
            Mapping::Array { element, .. } => Mapping::Array {
                element,
                element_oid: declared,
            },
            mapping @ Mapping::Scalar(_) => mapping,
        },
    };
    if let Some(part) = unsendable_part(client, column.type_oid).await? {
        return Err(CatalogError::NoBinary {
            table: shape.table.clone(),
            column: column.name.clone(),
            type_name: pg_type.name,
            part,
        });
    }
    Ok(Some((mapping, pg_type)))
}

/// The type that keeps values of this one from being sent: it is a part of it, and has no send
/// function. A type that has none itself is sent as text.
///
/// # Errors
/// When the catalog cannot be read.
pub async fn unsendable_part(
    client: &Client,
    type_oid: Oid,
) -> Result<Option<String>, CatalogError> {
    let row = client.query_opt(UNSENDABLE, &[&type_oid]).await;
    Ok(row.map_err(CatalogError::Query)?.map(|row| row.get(0)))
}

const UNSENDABLE: &str = "
with recursive part (oid) as (
    select oid from pg_type where oid = $1 and typsend <> 0
    union
    select next.oid
      from part join pg_type t on t.oid = part.oid
      left join pg_range r on t.oid in (r.rngtypid, r.rngmultitypid)
     cross join lateral (
          select t.typelem where t.typinput = 'pg_catalog.array_in'::regproc
          union all
          select t.typbasetype where t.typtype = 'd'
          union all
          select r.rngsubtype where r.rngsubtype is not null
          union all
          select a.atttypid from pg_attribute a
           where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
     ) next (oid)
)
select format_type(t.oid, null) from part join pg_type t using (oid)
 where t.typsend = 0 order by 1 limit 1";

/// A type with its domains taken off, and its element likewise. A domain's modifier counts where the
/// column has none, which is always: a domain takes none. `int2vector` and `oidvector` are arrays
/// that start at 0 and nothing else.
const TYPE: &str = "
with recursive base as (
    select t.oid, t.typtype, t.typbasetype, $2::int4 as modifier
      from pg_type t where t.oid = $1
    union all
    select t.oid, t.typtype, t.typbasetype,
           case when b.modifier = -1 then d.typtypmod else b.modifier end
      from base b join pg_type d on d.oid = b.oid
      join pg_type t on b.typtype = 'd' and t.oid = b.typbasetype
), element as (
    select b.modifier, t.oid as array_oid, t.typtype, t.typsend, e.oid as first_element
      from base b join pg_type t on t.oid = b.oid
      left join pg_type e on t.typcategory = 'A' and t.typlen = -1 and t.oid not in (22, 30)
                         and e.oid = t.typelem
     where b.typtype <> 'd'
), element_base as (
    with recursive chain as (
        select t.oid, t.typtype, t.typbasetype from pg_type t, element e where t.oid = e.first_element
        union all
        select t.oid, t.typtype, t.typbasetype
          from chain c join pg_type t on c.typtype = 'd' and t.oid = c.typbasetype
    )
    select oid, typtype from chain where typtype <> 'd'
)
select format_type($1, $2) as type_name, e.modifier, e.array_oid as oid,
       e.typtype = 'e' as is_enum, e.typsend <> 0 as has_send,
       e.first_element as declared_element_oid,
       eb.oid as element_oid, eb.typtype = 'e' as element_is_enum,
       et.typsend <> 0 as element_has_send,
       (select array_agg(l.enumlabel::text order by l.enumsortorder) from pg_enum l
         where l.enumtypid = coalesce(eb.oid, e.array_oid)) as enum_labels
  from element e
  left join element_base eb on true
  left join pg_type et on et.oid = eb.oid";
