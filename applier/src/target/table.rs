//! A table on the target: found or made, and checked against what its changes bring.

use change::relation::{Column, Relation};
use change::{TableName, quoted};
use tokio_postgres::Client;
use tracing::info;

use crate::decode::Plan;
use crate::error::{Drift, Error, StatementError};
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
    let relation = &plan.relation;
    let table = redirect.unwrap_or(&relation.table);
    let (oid, storage) = match find(client, table).await? {
        Some(found) => found,
        None if redirect.is_some() => {
            let table = table.clone();
            return Err(Drift::NotATable { table }.into());
        }
        None => {
            create(client, relation).await?;
            let made = find(client, &relation.table).await?;
            made.ok_or(Drift::NotATable {
                table: relation.table.clone(),
            })?
        }
    };
    let mut shape = Shape {
        table: table.clone(),
        storage,
        columns: match_columns(client, relation, oid).await?,
        has_key: plan.has_key(),
        stage: format!("lockstep_stage_{}", plan.schema.0),
    };
    if shape.has_key {
        match_key(client, relation, &mut shape, oid).await?;
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
        .map_err(failed("look for a table"))?;
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
        .map_err(failed("look for a type"))?;
    Ok(row.map(|row| TargetType {
        oid: row.get(0),
        full_name: row.get(1),
    }))
}

async fn match_columns(
    client: &Client,
    relation: &Relation,
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
        .map_err(failed("read a table's columns"))?;
    let mut columns = Vec::with_capacity(relation.columns.len());
    for column in &relation.columns {
        let table = || relation.table.clone();
        let row = found
            .iter()
            .find(|row| row.get::<_, &str>(0) == column.name);
        let Some(row) = row else {
            return Err(Drift::MissingColumn {
                table: table(),
                column: column.name.clone(),
                pg_type: column.pg_type.name.clone(),
            }
            .into());
        };
        let Some(expected) = target_type(client, column).await? else {
            return Err(missing_type(relation, column).into());
        };
        let type_oid: u32 = row.get(1);
        if !same_images(expected.oid, type_oid) {
            return Err(Drift::ColumnType {
                table: table(),
                column: column.name.clone(),
                expected: expected.full_name,
                found: row.get(3),
            }
            .into());
        }
        if row.get(4) {
            return Err(Drift::Generated {
                table: table(),
                column: column.name.clone(),
            }
            .into());
        }
        // An insert may override it, an update cannot.
        if row.get(5) && !column.in_key {
            return Err(Drift::AlwaysIdentity {
                table: table(),
                column: column.name.clone(),
            }
            .into());
        }
        columns.push(ShapeColumn {
            name: column.name.clone(),
            type_name: row.get(2),
            equality: None,
            is_text: column.mapping.is_text_form(),
        });
    }
    Ok(columns)
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
        .map_err(failed("read a table's indexes"))?;
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

pub(crate) async fn create(client: &Client, relation: &Relation) -> Result<(), Error> {
    let table = &relation.table;
    create_schema(client, &table.schema).await?;
    let mut parts = Vec::with_capacity(relation.columns.len() + 1);
    for column in &relation.columns {
        let mut found = target_type(client, column).await?;
        if found.is_none() && !column.pg_type.enum_labels.is_empty() {
            create_enum(client, relation, column).await?;
            found = target_type(client, column).await?;
        }
        let Some(found) = found else {
            return Err(missing_type(relation, column).into());
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
        .map_err(failed("create a table"))?;
    info!(%table, "created the table on the target");
    Ok(())
}

/// Asks first: `create schema if not exists` demands the right to create it even where it exists.
async fn create_schema(client: &Client, schema: &str) -> Result<(), Error> {
    let query = "select exists (select from pg_catalog.pg_namespace where nspname = $1)";
    let row = client
        .query_one(query, &[&schema])
        .await
        .map_err(failed("look for a schema"))?;
    if row.get(0) {
        return Ok(());
    }
    client
        .batch_execute(&format!("create schema if not exists {}", quoted(schema)))
        .await
        .map_err(failed("create a schema"))
}

async fn create_enum(client: &Client, relation: &Relation, column: &Column) -> Result<(), Error> {
    let name = column.pg_type.name.trim_end_matches("[]");
    let Some((schema, name)) = qualified(name) else {
        return Err(missing_type(relation, column).into());
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
        .map_err(failed("create an enum type"))?;
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

/// The identifier that `text` starts with, and what follows it.
fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find('.').unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        return (!name.is_empty()).then(|| (name.to_owned(), rest));
    };
    let mut name = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return Some((name, after)),
        }
    }
}

fn missing_type(relation: &Relation, column: &Column) -> Drift {
    Drift::MissingType {
        table: relation.table.clone(),
        column: column.name.clone(),
        pg_type: column.pg_type.name.clone(),
    }
}

fn failed(step: &'static str) -> impl FnOnce(tokio_postgres::Error) -> Error {
    move |error| Error::Target {
        step,
        source: StatementError(error),
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
