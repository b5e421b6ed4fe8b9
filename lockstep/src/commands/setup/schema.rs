//! The SQL that makes the target's tables as they are on the source.
//!
//! pg_dump knows how every object is written, but takes all of a database or a table without the
//! types it uses. So the whole schema is dumped, the catalog says what the missing tables consist of
//! and need, and pg_restore writes those entries.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::Context;
use change::TableName;
use service::postgres::Dsn;
use tokio_postgres::Client;

use super::programs::Programs;

/// SQL for `tables` with their constraints, indexes, defaults and sequences, and for the schemas,
/// types, functions and extensions that they need and the target does not have.
///
/// # Errors
/// When a catalog cannot be read, or pg_dump fails.
pub(super) async fn dump(
    programs: &Programs,
    dsn: &Dsn,
    source: &Client,
    target: &Client,
    tables: &[TableName],
) -> anyhow::Result<String> {
    let wanted = wanted(source, target, tables).await?;
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    let dump = folder.path().join("schema.dump");
    programs.dump_schema(dsn, &dump).await?;
    let contents = programs.contents(&dump).await?;
    let mut list = tempfile::NamedTempFile::new_in(folder.path()).context("make a list")?;
    for entry in contents.lines().filter(|entry| wanted.covers(entry)) {
        writeln!(list, "{entry}").context("write the list")?;
    }
    let sql = programs.sql(&dump, list.path()).await?;
    Ok(sql.lines().filter(|line| is_portable(line)).fold(
        String::with_capacity(sql.len()),
        |mut kept, line| {
            kept.push_str(line);
            kept.push('\n');
            kept
        },
    ))
}

/// What psql understands and the server does not, and settings that an older server does not know.
fn is_portable(line: &str) -> bool {
    let foreign = [
        "\\restrict",
        "\\unrestrict",
        "SET transaction_timeout",
        "--",
    ];
    !line.is_empty() && !foreign.iter().any(|start| line.starts_with(start))
}

/// The objects to make.
#[derive(Debug, Default)]
struct Wanted {
    /// `1259 16385`, as a table of contents writes the catalog's oid and the object's.
    oids: BTreeSet<String>,
    /// `public articles`: entries that attach one object to another carry no oid.
    relations: BTreeSet<String>,
}

impl Wanted {
    /// Whether a line of a table of contents is one of these: `215; 1259 16385 TABLE public a ann`.
    fn covers(&self, entry: &str) -> bool {
        let mut words = entry.splitn(4, ' ');
        let (_, catalog, oid) = (words.next(), words.next(), words.next());
        let (Some(catalog), Some(oid), Some(rest)) = (catalog, oid, words.next()) else {
            return false;
        };
        if (catalog, oid) != ("0", "0") {
            return self.oids.contains(&format!("{catalog} {oid}"));
        }
        ["SEQUENCE OWNED BY ", "TABLE ATTACH ", "INDEX ATTACH "]
            .iter()
            .filter_map(|kind| rest.strip_prefix(kind))
            .filter_map(|rest| rest.rsplit_once(' '))
            .any(|(name, _owner)| self.relations.contains(name))
    }
}

async fn wanted(source: &Client, target: &Client, tables: &[TableName]) -> anyhow::Result<Wanted> {
    let schemas: Vec<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let objects = source
        .query(NEEDED, &[&schemas, &names])
        .await
        .context("read from the catalog what the tables need")?;
    let mut wanted = Wanted::default();
    for object in objects {
        let kind: &str = object.get("kind");
        let names: Vec<String> = object.get("names");
        let arguments: Vec<String> = object.get("arguments");
        // The server answers with an error for what it does not have.
        let there = "select 1 from pg_get_object_address($1, $2, $3)";
        if target
            .query(there, &[&kind, &names, &arguments])
            .await
            .is_ok()
        {
            continue;
        }
        wanted.oids.insert(object.get("oids"));
        wanted.relations.insert(names.join(" "));
    }
    Ok(wanted)
}

/// The tables, what belongs to them, and what all of that depends on, down to what every database
/// has. A foreign key counts only where the table it refers to is published too: its rows come.
const NEEDED: &str = "
with recursive published as (
    select c.oid from pg_publication_tables t
      join pg_namespace n on n.nspname = t.schemaname
      join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename
    union
    select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
      join unnest($1::text[], $2::text[]) as t (schema, name)
        on t.schema = n.nspname and t.name = c.relname
), needed (classid, objid) as (
    select 'pg_class'::regclass::oid, c.oid
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
      join unnest($1::text[], $2::text[]) as t (schema, name)
        on t.schema = n.nspname and t.name = c.relname
    union
    select next.classid, next.objid from needed cross join lateral (
        select d.refclassid as classid, d.refobjid as objid from pg_depend d
         where d.classid = needed.classid and d.objid = needed.objid and d.refobjid >= 16384
        union all
        select 'pg_namespace'::regclass, c.relnamespace from pg_class c
         where needed.classid = 'pg_class'::regclass and c.oid = needed.objid
           and c.relnamespace >= 16384
        union all
        select d.classid, d.objid from pg_depend d
         where d.refclassid = needed.classid and d.refobjid = needed.objid
           and needed.classid = 'pg_class'::regclass and d.deptype in ('a', 'i')
           and d.classid in ('pg_class'::regclass, 'pg_constraint'::regclass,
                             'pg_attrdef'::regclass)
    ) next
     where not exists (select 1 from pg_constraint k
                        where next.classid = 'pg_constraint'::regclass and k.oid = next.objid
                          and k.contype = 'f' and k.confrelid not in (select oid from published))
)
select classid::text || ' ' || objid::text as oids, a.type as kind,
       a.object_names as names, a.object_args as arguments
  from needed, pg_identify_object_as_address(classid, objid, 0) a";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_known_by_oid_or_by_name() {
        let wanted = Wanted {
            oids: ["1259 16385".to_owned()].into(),
            relations: ["public a_id_seq".to_owned()].into(),
        };
        assert!(wanted.covers("215; 1259 16385 TABLE public a ann"));
        assert!(!wanted.covers("216; 1259 16386 TABLE public b ann"));
        assert!(wanted.covers("217; 0 0 SEQUENCE OWNED BY public a_id_seq ann"));
        assert!(!wanted.covers("218; 0 0 SEQUENCE OWNED BY public b_id_seq ann"));
        assert!(!wanted.covers("219; 0 0 COMMENT public a_id_seq ann"));
        assert!(!wanted.covers("; Archive created at 2026-01-01"));
    }
}
