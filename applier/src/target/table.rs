//! A table on the target: found or made, and checked against what its changes bring.

use change::relation::{Column, Relation};
use change::{TableName, identifier, quoted};
use futures_util::future::try_join_all;
use tokio_postgres::{Client, Row};
use tracing::info;

use crate::decode::Plan;
use crate::differences::{rounds, widens};
use crate::error::{Drift, Error, step};
use crate::statement::{Equality, Shape, ShapeColumn, Storage};

/// Finds the table of `plan`, or makes it, and matches its columns by name. A table that changes are
/// redirected to was made by who redirects them.
///
/// # Errors
/// When the table on the target does not fit.
pub(super) async fn resolve(
    client: &Client,
    plan: &Plan,
    redirect: Option<&TableName>,
) -> Result<Shape, Error> {
    let table = redirect.unwrap_or(&plan.target);
    let not_a_table = || Drift::NotATable {
        table: table.clone(),
    };
    let (oid, storage) = match find(client, table).await? {
        Some(found) => found,
        None if redirect.is_some() => return Err(not_a_table().into()),
        None => {
            create(client, table, &plan.relation).await?;
            find(client, table).await?.ok_or_else(not_a_table)?
        }
    };
    let mut shape = Shape {
        table: table.clone(),
        storage,
        columns: match_columns(client, plan, table, oid).await?,
        has_key: plan.has_key(),
        stage: format!("lockstep_stage_{}", plan.schema.0),
    };
    if shape.has_key {
        match_key(client, &plan.relation, &mut shape, oid).await?;
    }
    Ok(shape)
}

/// A table's OID, and where its rows are.
pub(crate) async fn find(
    client: &Client,
    table: &TableName,
) -> Result<Option<(u32, Storage)>, Error> {
    let query = "select c.oid, c.relkind::text from pg_catalog.pg_class c \
                 join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
                 where n.nspname = $1 and c.relname = $2";
    let row = client
        .query_opt(query, &[&table.schema, &table.name])
        .await
        .map_err(step("look for a table"))?;
    let Some(row) = row else {
        return Ok(None);
    };
    match row.get(1) {
        "r" => Ok(Some((row.get(0), Storage::Own))),
        "p" => Ok(Some((row.get(0), Storage::Partitions))),
        _ => Err(Drift::NotATable {
            table: table.clone(),
        }
        .into()),
    }
}

/// How the target knows a type.
pub(crate) struct TargetType {
    oid: u32,
    /// With the modifier: `numeric(10,2)`.
    pub(crate) full_name: String,
}

pub(crate) async fn target_type(
    client: &Client,
    column: &Column,
) -> Result<Option<TargetType>, Error> {
    let query = "select t.oid, pg_catalog.format_type(t.oid, $2) \
                 from pg_catalog.pg_type t where t.oid = pg_catalog.to_regtype($1)";
    let row = client
        .query_opt(query, &[&column.pg_type.name, &column.pg_type.modifier])
        .await
        .map_err(step("look for a type"))?;
    Ok(row.map(|row| TargetType {
        oid: row.get(0),
        full_name: row.get(1),
    }))
}

async fn match_columns(
    client: &Client,
    plan: &Plan,
    table: &TableName,
    oid: u32,
) -> Result<Vec<ShapeColumn>, Error> {
    // With -1, not with null: of char and bit, the bare names mean a length of 1.
    let query = "select a.attname, a.atttypid, pg_catalog.format_type(a.atttypid, -1), \
                 pg_catalog.format_type(a.atttypid, a.atttypmod), \
                 a.attgenerated <> '', a.attidentity = 'a' \
                 from pg_catalog.pg_attribute a \
                 where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped";
    let found = client
        .query(query, &[&oid])
        .await
        .map_err(step("read a table's columns"))?;
    are_generated(plan, table, &found)?;
    let columns = &plan.relation.columns;
    let expected = columns.iter().enumerate().map(|(at, column)| async move {
        match plan.is_fixed(at) {
            true => Ok(None),
            false => target_type(client, column).await,
        }
    });
    let expected = try_join_all(expected).await?;
    let mut shape = Vec::with_capacity(columns.len());
    for ((at, column), expected) in columns.iter().enumerate().zip(expected) {
        let row = found
            .iter()
            .find(|row| row.get::<_, &str>(0) == column.name);
        let Some(row) = row else {
            return Err(Drift::MissingColumn {
                table: table.clone(),
                column: column.name.clone(),
                pg_type: column.pg_type.name.clone(),
            }
            .into());
        };
        let mut matched = ShapeColumn {
            name: column.name.clone(),
            type_name: row.get(2),
            equality: None,
            carried_as: Some("text".to_owned()),
        };
        if !plan.is_fixed(at) {
            let found = TargetType {
                oid: row.get(1),
                full_name: row.get(3),
            };
            match_type(table, column, expected, found, &mut matched)?;
        }
        refuse_filled(table, column, (row.get(4), row.get(5)))?;
        shape.push(matched);
    }
    Ok(shape)
}

/// Finds out how values get into a column whose type on the target is `found`.
fn match_type(
    table: &TableName,
    column: &Column,
    expected: Option<TargetType>,
    found: TargetType,
    matched: &mut ShapeColumn,
) -> Result<(), Drift> {
    let expected = expected.ok_or_else(|| missing_type(table, column))?;
    let (from, to) = (&expected.full_name, &found.full_name);
    let same = same_images(expected.oid, found.oid);
    if same && rounds(from, to) || !same && !widens(from, to) {
        return Err(Drift::ColumnType {
            table: table.clone(),
            column: column.name.clone(),
            expected: expected.full_name,
            found: found.full_name,
        });
    }
    // A numeric with more digits behind the point has other images.
    let scaled = expected.oid == NUMERIC && from != to;
    if !same || scaled {
        matched.type_name = found.full_name;
        matched.carried_as = Some(column.pg_type.name.clone());
    } else if !column.mapping.is_text_form() {
        matched.carried_as = None;
    }
    Ok(())
}

const NUMERIC: u32 = 1700;

/// Of a column that is generated, and of one that takes no numbers but its own.
fn refuse_filled(
    table: &TableName,
    column: &Column,
    (generated, identity): (bool, bool),
) -> Result<(), Drift> {
    let (table, in_key) = (table.clone(), column.in_key);
    let column = column.name.clone();
    match (generated, identity) {
        (true, _) => Err(Drift::Generated { table, column }),
        // An insert may override it, an update cannot.
        (false, true) if !in_key => Err(Drift::AlwaysIdentity { table, column }),
        (false, _) => Ok(()),
    }
}

/// Looks that the target works out what is left out.
fn are_generated(plan: &Plan, table: &TableName, found: &[Row]) -> Result<(), Drift> {
    for name in &plan.generated {
        let mut same = found.iter().filter(|row| row.get::<_, &str>(0) == name);
        if same.any(|row| !row.get::<_, bool>(4)) {
            return Err(Drift::NotGenerated {
                table: table.clone(),
                column: name.clone(),
            });
        }
    }
    Ok(())
}

/// Whether the binary images of one type are those of the other.
fn same_images(expected: u32, found: u32) -> bool {
    const TEXT: u32 = 25;
    const VARCHAR: u32 = 1043;
    let texts = [TEXT, VARCHAR];
    expected == found || (texts.contains(&expected) && texts.contains(&found))
}

/// Finds the index that makes the key unique, and how it compares values.
async fn match_key(
    client: &Client,
    relation: &Relation,
    shape: &mut Shape,
    oid: u32,
) -> Result<(), Error> {
    let key: Vec<&str> = relation.key_columns().map(|it| it.name.as_str()).collect();
    let rows = client
        .query(KEY, &[&oid, &key])
        .await
        .map_err(step("read a table's indexes"))?;
    for row in &rows {
        let name: &str = row.get(0);
        let column = shape.columns.iter_mut().find(|it| it.name == name);
        if let Some(column) = column {
            column.equality = Some(Equality {
                operator: format!("operator({}.{})", quoted(row.get(1)), row.get::<_, &str>(2)),
                base_type: row.get(3),
            });
        }
    }
    if !rows.is_empty() {
        return Ok(());
    }
    Err(Drift::MissingKey {
        table: shape.table.clone(),
        key: key.join(", "),
    }
    .into())
}

/// Each column of the index with its equality operator, which is strategy 3 of B-trees, and its type
/// with the domains taken off.
const KEY: &str = "
with recursive found as (
    select i.indrelid, i.indkey, i.indclass, i.indnkeyatts from pg_catalog.pg_index i
     where i.indrelid = $1 and i.indisunique and i.indisvalid and i.indimmediate
       and i.indpred is null and i.indexprs is null
       and (select array_agg(a.attname::text order by a.attname::text)
              from unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) as k (attnum)
              join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum)
         = (select array_agg(n order by n) from unnest($2::text[]) as n)
     order by i.indisprimary desc, i.indexrelid limit 1
), key as (
    select a.attname, a.atttypid, f.indclass[k.place] as opclass
      from found f, generate_series(0, f.indnkeyatts - 1) as k (place)
      join pg_catalog.pg_attribute a on true
     where a.attrelid = f.indrelid and a.attnum = f.indkey[k.place]
), base as (
    select k.attname, k.opclass, k.atttypid as type from key k
    union all
    select b.attname, b.opclass, t.typbasetype
      from base b join pg_catalog.pg_type t on t.oid = b.type and t.typtype = 'd'
)
select b.attname::text, n.nspname::text, o.oprname::text, pg_catalog.format_type(b.type, -1)
  from base b
  join pg_catalog.pg_type t on t.oid = b.type and t.typtype <> 'd'
  join pg_catalog.pg_opclass c on c.oid = b.opclass
  join pg_catalog.pg_amop m on m.amopfamily = c.opcfamily and m.amopstrategy = 3
                           and m.amoplefttype = c.opcintype and m.amoprighttype = c.opcintype
  join pg_catalog.pg_operator o on o.oid = m.amopopr
  join pg_catalog.pg_namespace n on n.oid = o.oprnamespace";

/// Makes a table for rows of `relation`.
pub(crate) async fn create(
    client: &Client,
    table: &TableName,
    relation: &Relation,
) -> Result<(), Error> {
    create_schema(client, &table.schema).await?;
    let mut parts = Vec::with_capacity(relation.columns.len() + 1);
    for column in &relation.columns {
        let mut found = target_type(client, column).await?;
        if found.is_none() && !column.pg_type.enum_labels.is_empty() {
            create_enum(client, table, column).await?;
            found = target_type(client, column).await?;
        }
        let Some(found) = found else {
            return Err(missing_type(table, column).into());
        };
        let not_null = match column.not_null {
            true => " not null",
            false => "",
        };
        parts.push(format!(
            "{} {}{not_null}",
            quoted(&column.name),
            found.full_name
        ));
    }
    if relation.key == change::relation::Key::Columns {
        let key: Vec<String> = relation.key_columns().map(|c| quoted(&c.name)).collect();
        parts.push(format!("primary key ({})", key.join(", ")));
    }
    let sql = format!(
        "create table if not exists {} ({})",
        table.quoted(),
        parts.join(", ")
    );
    client
        .batch_execute(&sql)
        .await
        .map_err(step("create a table"))?;
    info!(%table, "created the table on the target");
    Ok(())
}

/// Asks first: `create schema if not exists` demands the right to create it even where it exists.
async fn create_schema(client: &Client, schema: &str) -> Result<(), Error> {
    if has_schema(client, schema).await? {
        return Ok(());
    }
    client
        .batch_execute(&format!("create schema if not exists {}", quoted(schema)))
        .await
        .map_err(step("create a schema"))
}

pub(super) async fn has_schema(client: &Client, schema: &str) -> Result<bool, Error> {
    let query = "select exists (select from pg_catalog.pg_namespace where nspname = $1)";
    let row = client.query_one(query, &[&schema]).await;
    Ok(row.map_err(step("look for a schema"))?.get(0))
}

/// The root of what a table is a partition of.
pub(super) async fn partition_root(client: &Client, oid: u32) -> Result<Option<TableName>, Error> {
    let query = "select n.nspname, c.relname from pg_catalog.pg_class c \
                 join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
                 where c.oid = pg_catalog.pg_partition_root($1::oid::regclass) and c.oid <> $1::oid";
    let row = client.query_opt(query, &[&oid]).await;
    let row = row.map_err(step("look for a partition's root"))?;
    Ok(row.map(|row| TableName::new(row.get::<_, String>(0), row.get::<_, String>(1))))
}

async fn create_enum(client: &Client, table: &TableName, column: &Column) -> Result<(), Error> {
    let name = column.pg_type.name.trim_end_matches("[]");
    let Some((schema, name)) = qualified(name) else {
        return Err(missing_type(table, column).into());
    };
    let schema = schema.unwrap_or_else(|| "public".to_owned());
    create_schema(client, &schema).await?;
    let labels = &column.pg_type.enum_labels;
    let labels: Vec<String> = labels.iter().map(|label| literal(label)).collect();
    let name = TableName::new(schema, name);
    let sql = format!(
        "create type {} as enum ({})",
        name.quoted(),
        labels.join(", ")
    );
    client
        .batch_execute(&sql)
        .await
        .map_err(step("create an enum type"))?;
    info!(type_name = %name, "created the enum type on the target");
    Ok(())
}

/// As SQL text, for a session with `standard_conforming_strings` on.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Schema and name of a type as `format_type` writes it.
fn qualified(name: &str) -> Option<(Option<String>, String)> {
    let (first, rest) = identifier(name)?;
    match rest.strip_prefix('.') {
        None if rest.is_empty() => Some((None, first)),
        None => None,
        Some(rest) => match identifier(rest)? {
            (second, "") => Some((Some(first), second)),
            _ => None,
        },
    }
}

fn missing_type(table: &TableName, column: &Column) -> Drift {
    Drift::MissingType {
        table: table.clone(),
        column: column.name.clone(),
        pg_type: column.pg_type.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(Option<&str>, &str)>) {
        let expected = expected.map(|(schema, name)| (schema.map(str::to_owned), name.to_owned()));
        assert_eq!(qualified(text), expected, "{text}");
    }

    #[test]
    fn type_names_are_taken_apart_as_postgres_writes_them() {
        check("mood", Some((None, "mood")));
        check("public.mood", Some((Some("public"), "mood")));
        check(r#""a.b"."C""d""#, Some((Some("a.b"), r#"C"d"#)));
        check(r#"s."m"; drop table x"#, None);
        check(r#""open"#, None);
        check("", None);
        check("a.b.c", None);
    }
}
