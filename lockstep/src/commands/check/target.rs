//! Whether the target can take what the source sends.

use anyhow::Context;
use change::quoted;
use tokio_postgres::{Client, Row};

use super::finding::Finding;
use super::source::{encoding, version};
use operate::catalog::{self, Filled, Identity, PublishedTable, TargetTable};

pub(super) async fn examine(
    client: &Client,
    source: Option<&Client>,
    publication: &str,
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
    for table in catalog::published(source, publication).await? {
        let found = catalog::target_table(client, &table.name).await?;
        findings.push(target_table(&table, found.as_ref()));
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

fn target_table(table: &PublishedTable, found: Option<&TargetTable>) -> Finding {
    const CHECK: &str = "table";
    let Some(found) = found else {
        let name = &table.name;
        return Finding::note(
            "target",
            CHECK,
            format!(
                "{name} is missing: setup makes it as on the source, apply with columns and key only"
            ),
        );
    };
    match difference(table, found) {
        None => Finding::ok("target", CHECK, &table.name),
        Some((found, mend)) => Finding::fail("target", CHECK, found, mend),
    }
}

/// The first thing that keeps rows from going in, with its mend.
fn difference(table: &PublishedTable, found: &TargetTable) -> Option<(String, String)> {
    let (name, sql) = (&table.name, table.name.quoted());
    for column in &table.columns {
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
        if there.type_name != column.type_name {
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
    let ours = |name: &str| table.columns.iter().any(|column| column.name == name);
    for column in found.columns.iter().filter(|it| ours(&it.name)) {
        let (what, mend) = match column.filled {
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
    use change::TableName;

    use super::*;
    use operate::catalog::{Column, TargetColumn};

    fn published() -> PublishedTable {
        PublishedTable {
            name: TableName::new("public", "a"),
            columns: vec![column("id", "integer"), column("b", "text")],
            identity: Identity::Key(vec!["id".into()]),
            changes_rows: true,
        }
    }

    fn column(name: &str, type_name: &str) -> Column {
        Column {
            name: name.into(),
            type_name: type_name.into(),
        }
    }

    fn there(name: &str, type_name: &str, must_be_given: bool) -> TargetColumn {
        TargetColumn {
            name: name.into(),
            type_name: type_name.into(),
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
