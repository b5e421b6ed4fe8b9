//! Whether the target can take what the source sends.

use anyhow::Context;
use applier::widens;
use change::{TableName, quoted};
use tokio_postgres::{Client, Row};

use super::differences;
use super::finding::Finding;
use super::locks::{self, PerTable};
use super::source::{encoding, version};
use operate::catalog::{self, Filled, Identity, PublishedTable, TargetColumn, TargetTable};
use operate::endpoints::{Endpoints, Names};

pub(super) async fn examine(
    client: &Client,
    source: Option<&Client>,
    endpoints: &Endpoints,
    findings: &mut Vec<Finding>,
) -> anyhow::Result<()> {
    let server = client
        .query_one(SERVER, &[])
        .await
        .context("ask the server for its settings")?;
    findings.push(version("target", &server));
    findings.push(encoding("target", &server));
    findings.push(may_create(&server));
    findings.push(may_replay(client, &server).await?);
    let Some(source) = source else {
        return Ok(());
    };
    findings.push(another_database(source, client).await?);
    let Names {
        publication,
        pipeline,
        ..
    } = &endpoints.names;
    findings.push(sequences(source, client, publication, &server).await?);
    findings.extend(virtual_columns(source, publication, &server).await?);
    let published = catalog::published(source, publication).await?;
    findings.push(locks::examine("target", client, published.len(), PerTable::Made).await?);
    let differences = match endpoints.differences.or_stored(client, pipeline).await {
        Ok(differences) => differences,
        Err(error) => {
            findings.push(differences::refused(&error));
            return Ok(());
        }
    };
    findings.extend(differences::examine(&published, &differences));
    for table in &published {
        let target = differences.table(&table.name);
        let found = catalog::target_table(client, &target).await?;
        findings.push(match &found {
            Some(found) => {
                let expected = differences::expected(table, found, &differences);
                let wrong = difference(&expected, found)
                    .or_else(|| differences::not_nullable(table, found, &differences));
                target_table(&target, wrong)
            }
            None => missing(&target, differences.are_of(&table.name)),
        });
    }
    Ok(())
}

const SERVER: &str = "
select current_setting('server_version') as version,
       current_setting('server_version_num')::int as version_num,
       current_setting('server_encoding') as encoding,
       current_user::text as role, current_database()::text as database,
       has_database_privilege(current_database(), 'create') as may_create, rolsuper
  from pg_roles where rolname = current_user";

fn may_create(server: &Row) -> Finding {
    const CHECK: &str = "CREATE right";
    let (role, database): (&str, &str) = (server.get("role"), server.get("database"));
    match server.get("may_create") {
        true => Finding::ok("target", CHECK, role),
        false => Finding::fail(
            "target",
            CHECK,
            format!("{role} may not create schemas in {database}"),
            format!(
                "grant create on database {} to {}",
                quoted(database),
                quoted(role)
            ),
        ),
    }
}

/// Triggers and foreign keys must not fire a second time for what the source has already checked.
async fn may_replay(client: &Client, server: &Row) -> anyhow::Result<Finding> {
    const CHECK: &str = "replication role";
    let role: &str = server.get("role");
    if server.get("rolsuper") {
        return Ok(Finding::ok("target", CHECK, format!("{role} may set it")));
    }
    if server.get::<_, i32>("version_num") < 150_000 {
        let found = format!("{role} is not a superuser");
        let mend = "before version 15 only a superuser may set session_replication_role";
        return Ok(Finding::fail("target", CHECK, found, mend));
    }
    let query = "select has_parameter_privilege('session_replication_role', 'set')";
    let row = client.query_one(query, &[]).await;
    let may: bool = row
        .context("ask for the right to set session_replication_role")?
        .get(0);
    Ok(match may {
        true => Finding::ok("target", CHECK, format!("{role} may set it")),
        false => Finding::fail(
            "target",
            CHECK,
            format!("{role} may not set session_replication_role"),
            format!(
                "grant set on parameter session_replication_role to {}",
                quoted(role)
            ),
        ),
    })
}

/// The oldest version that has virtual columns.
const VIRTUAL_SINCE: i32 = 180_000;

async fn virtual_columns(
    source: &Client,
    publication: &str,
    server: &Row,
) -> anyhow::Result<Option<Finding>> {
    if server.get::<_, i32>("version_num") >= VIRTUAL_SINCE {
        return Ok(None);
    }
    let row = source.query_one(VIRTUAL_COLUMNS, &[&publication]).await;
    let found: Option<String> = row.context("look for virtual columns")?.get(0);
    Ok(found.map(|columns| {
        Finding::fail(
            "target",
            "virtual columns",
            format!(
                "Postgres {} has none: {columns}",
                server.get::<_, &str>("version")
            ),
            "make them `stored` on the source, or take Postgres 18 for the target",
        )
    }))
}

const VIRTUAL_COLUMNS: &str = "
select string_agg(format('%I.%I.%I', n.nspname, c.relname, a.attname), ', ' order by c.oid, a.attnum)
  from pg_publication_tables t
  join pg_namespace n on n.nspname = t.schemaname
  join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename
  join pg_attribute a on a.attrelid = c.oid and a.attgenerated = 'v'
 where t.pubname = $1";

/// A database copied into itself would feed on its own changes.
async fn another_database(source: &Client, target: &Client) -> anyhow::Result<Finding> {
    let query =
        "select system_identifier::text || '/' || current_database() from pg_control_system()";
    let step = "ask for the system's identifier";
    let from: String = source.query_one(query, &[]).await.context(step)?.get(0);
    let to: String = target.query_one(query, &[]).await.context(step)?.get(0);
    Ok(match from == to {
        false => Finding::ok("target", "another database", "than the source"),
        true => Finding::fail(
            "target",
            "another database",
            "it is the source itself",
            "name another database with --target",
        ),
    })
}

/// Those that apply may not set stay where they are, and everything else goes on.
async fn sequences(
    source: &Client,
    target: &Client,
    publication: &str,
    server: &Row,
) -> anyhow::Result<Finding> {
    let sequences = cdc::sequences(source, publication).await;
    let sequences = sequences.context("read the source's sequences")?;
    let schemas: Vec<&str> = sequences.iter().map(|it| it.schema.as_str()).collect();
    let names: Vec<&str> = sequences.iter().map(|it| it.name.as_str()).collect();
    let row = target.query_one(NOT_OURS, &[&schemas, &names]).await;
    let row = row.context("look for sequences that may not be set")?;
    let role = quoted(server.get("role"));
    Ok(match row.get::<_, Option<&str>>(0) {
        None => Finding::ok("target", "sequences", "can be set"),
        Some(names) => Finding::note(
            "target",
            "sequences",
            format!("these fall behind: grant select, update on sequence {names} to {role}"),
        ),
    })
}

const NOT_OURS: &str = "
select string_agg(format('%I.%I', n.nspname, c.relname), ', ')
  from unnest($1::text[], $2::text[]) v (schema, name)
  join pg_namespace n on n.nspname = v.schema
  join pg_class c on c.relnamespace = n.oid and c.relname = v.name
 where case when c.relkind <> 'S' then false
            else not (has_sequence_privilege(c.oid, 'select')
                      and has_sequence_privilege(c.oid, 'update')) end";

fn missing(table: &TableName, differs: bool) -> Finding {
    let made = match differs {
        true => "apply makes it with columns and key only",
        false => "setup makes it as on the source, apply with columns and key only",
    };
    Finding::note("target", TABLE, format!("{table} is missing: {made}"))
}

fn target_table(table: &TableName, wrong: Option<(String, String)>) -> Finding {
    match wrong {
        None => Finding::ok("target", TABLE, table),
        Some((found, mend)) => Finding::fail("target", TABLE, found, mend),
    }
}

const TABLE: &str = "table";

/// The first thing that keeps rows from going in, with its mend.
fn difference(table: &PublishedTable, found: &TargetTable) -> Option<(String, String)> {
    let (name, sql) = (&table.name, table.name.quoted());
    for column in table.columns.iter().filter(|it| !it.generated) {
        let quoted_column = quoted(&column.name);
        let Some(there) = found.columns.iter().find(|it| it.name == column.name) else {
            return Some((
                format!("{name} has no column {}", column.name),
                format!(
                    "alter table {sql} add column {quoted_column} {}",
                    column.type_name
                ),
            ));
        };
        if !widens(&column.type_name, &there.type_name) {
            return Some((
                format!(
                    "{name}: column {} is {}, on the source {}",
                    column.name, there.type_name, column.type_name
                ),
                format!(
                    "alter table {sql} alter column {quoted_column} type {}",
                    column.type_name
                ),
            ));
        }
    }
    if let Some(unwritable) = unwritable(table, found) {
        return Some(unwritable);
    }
    let known = |name: &str| table.columns.iter().any(|column| column.name == name);
    let mut extra = found.columns.iter();
    if let Some(column) = extra.find(|column| column.must_be_given && !known(&column.name)) {
        return Some((
            format!(
                "{name}: column {} is NOT NULL and the source does not have it",
                column.name
            ),
            format!(
                "alter table {sql} alter column {} set default …",
                quoted(&column.name)
            ),
        ));
    }
    missing_key(table, found)
}

/// A column of the source that takes no values here. An identity in the key is not updated.
fn unwritable(table: &PublishedTable, found: &TargetTable) -> Option<(String, String)> {
    let is_key = |name: &String| match &table.identity {
        Identity::Key(key) => key.contains(name),
        Identity::Full | Identity::None => false,
    };
    let ours = |name: &str| table.columns.iter().find(|column| column.name == name);
    for (column, ours) in found
        .columns
        .iter()
        .filter_map(|it| Some((it, ours(&it.name)?)))
    {
        if ours.generated && column.filled != Filled::ByExpression {
            return Some(not_generated(table, column));
        }
        let (what, mend) = match column.filled {
            Filled::ByExpression if ours.generated => continue,
            Filled::ByExpression => ("is generated", "drop expression"),
            Filled::ByIdentity if !is_key(&column.name) => {
                ("takes no numbers but its own", "set generated by default")
            }
            Filled::ByIdentity | Filled::ByWriters => continue,
        };
        return Some((
            format!("{}: column {} {what}", table.name, column.name),
            format!(
                "alter table {} alter column {} {mend}",
                table.name.quoted(),
                quoted(&column.name)
            ),
        ));
    }
    None
}

fn not_generated(table: &PublishedTable, column: &TargetColumn) -> (String, String) {
    let (sql, quoted_column) = (table.name.quoted(), quoted(&column.name));
    (
        format!(
            "{}: column {} is generated on the source and not here, and gets no values",
            table.name, column.name
        ),
        format!(
            "alter table {sql} drop column {quoted_column}, add column {quoted_column} {} \
             generated always as (…) stored",
            column.type_name
        ),
    )
}

/// Without an index that makes the key unique there is no upsert.
fn missing_key(table: &PublishedTable, found: &TargetTable) -> Option<(String, String)> {
    let Identity::Key(key) = &table.identity else {
        return None;
    };
    let mut sorted = key.clone();
    sorted.sort();
    if found.unique.contains(&sorted) {
        return None;
    }
    let columns: Vec<String> = key.iter().map(|column| quoted(column)).collect();
    Some((
        format!("{} has no unique index on {}", table.name, key.join(", ")),
        format!(
            "alter table {} add primary key ({})",
            table.name.quoted(),
            columns.join(", ")
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use operate::catalog::Column;

    fn published() -> PublishedTable {
        PublishedTable {
            name: TableName::new("public", "a"),
            columns: vec![column("id", "integer"), column("b", "text")],
            identity: Identity::Key(vec!["id".into()]),
            filter: None,
            changes_rows: true,
        }
    }

    fn column(name: &str, type_name: &str) -> Column {
        Column {
            name: name.into(),
            type_name: type_name.into(),
            generated: false,
        }
    }

    fn there(name: &str, type_name: &str, must_be_given: bool) -> TargetColumn {
        TargetColumn {
            name: name.into(),
            type_name: type_name.into(),
            not_null: must_be_given,
            must_be_given,
            filled: Filled::ByWriters,
        }
    }

    #[track_caller]
    fn check(columns: Vec<TargetColumn>, unique: &[&[&str]], expected: Option<&str>) {
        let unique = unique.iter().map(|columns| {
            let columns = columns.iter().map(|column| (*column).to_owned());
            columns.collect()
        });
        let found = TargetTable {
            columns,
            unique: unique.collect(),
        };
        let difference = difference(&published(), &found);
        let found = difference.as_ref().map(|(found, _)| found.as_str());
        assert_eq!(found, expected);
    }

    #[test]
    fn what_rows_cannot_go_into_is_named() {
        let id = || there("id", "integer", true);
        let b = || there("b", "text", false);
        let key: &[&[&str]] = &[&["id"]];
        check(vec![id(), b()], key, None);
        check(vec![b(), id(), there("c", "text", false)], key, None);
        check(vec![there("id", "bigint", true), b()], key, None);
        check(vec![id()], key, Some("public.a has no column b"));
        check(
            vec![id(), there("b", "bigint", false)],
            key,
            Some("public.a: column b is bigint, on the source text"),
        );
        check(
            vec![id(), b(), there("c", "text", true)],
            key,
            Some("public.a: column c is NOT NULL and the source does not have it"),
        );
        let filled = |column, filled| TargetColumn { filled, ..column };
        let mut generated = published();
        generated.columns[1].generated = true;
        let here = |filling| TargetTable {
            columns: vec![id(), filled(b(), filling)],
            unique: vec![vec!["id".to_owned()]],
        };
        assert_eq!(difference(&generated, &here(Filled::ByExpression)), None);
        let (found, _) = difference(&generated, &here(Filled::ByWriters)).unwrap();
        let said = "public.a: column b is generated on the source and not here, and gets no values";
        assert_eq!(found, said);
        check(
            vec![id(), filled(b(), Filled::ByExpression)],
            key,
            Some("public.a: column b is generated"),
        );
        check(
            vec![
                filled(id(), Filled::ByIdentity),
                filled(b(), Filled::ByIdentity),
            ],
            key,
            Some("public.a: column b takes no numbers but its own"),
        );
        check(
            vec![id(), b()],
            &[&["b", "id"]],
            Some("public.a has no unique index on id"),
        );
    }
}
