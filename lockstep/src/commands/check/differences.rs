//! Whether the options by which the target's tables differ fit the source, and what they ask of the target.

use std::collections::HashMap;

use applier::{Differences, Mask, Treatment};
use change::TableName;
use operate::catalog::{Column, Identity, PublishedTable, TargetTable};

use super::finding::Finding;

const CHECK: &str = "differences";
const MEND: &str = "correct the options of the applier (--rename, --leave-out, --mask, …)";

/// Options that nobody can work with.
pub(super) fn refused(error: &applier::Error) -> Finding {
    Finding::fail("target", CHECK, service::chain(error), MEND)
}

/// What options say that is not so.
pub(super) fn examine(published: &[PublishedTable], differences: &Differences) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, column) in differences.named() {
        let table = published.iter().find(|it| it.name == name);
        if let Some(wrong) = wrong(&name, column.as_deref(), table, differences) {
            findings.push(Finding::fail("target", CHECK, wrong, MEND));
        }
    }
    let mut targets: HashMap<TableName, &TableName> = HashMap::new();
    for PublishedTable { name, .. } in published {
        if let Some(other) = targets.insert(differences.table(name), name) {
            let found = format!("{other} and {name} go into one table");
            findings.push(Finding::fail("target", CHECK, found, MEND));
        }
    }
    findings
}

fn wrong(
    name: &TableName,
    column: Option<&str>,
    table: Option<&PublishedTable>,
    differences: &Differences,
) -> Option<String> {
    let Some(table) = table else {
        return Some(format!("table {name} is not published"));
    };
    let column = column?;
    if !table.columns.iter().any(|it| it.name == column) {
        return Some(format!("column {column} of table {name} is not published"));
    }
    let is_key = match &table.identity {
        Identity::Key(key) => key.iter().any(|it| it == column),
        Identity::Full | Identity::None => false,
    };
    let hidden = differences.treatment(name, column) != Treatment::Carried;
    (is_key && hidden).then(|| {
        format!("column {column} is of the key of {name}, and can be neither masked nor left out")
    })
}

/// The table as the target should have it. A column that is the same in every row may have any type.
pub(super) fn expected(
    table: &PublishedTable,
    found: &TargetTable,
    differences: &Differences,
) -> PublishedTable {
    let renamed = |column: &str| differences.column(&table.name, column).to_owned();
    let columns = table.columns.iter().filter_map(|column| {
        let name = renamed(&column.name);
        let there = found.columns.iter().find(|it| it.name == name);
        let there = there.map(|it| it.type_name.clone());
        let treatment = differences.treatment(&table.name, &column.name);
        let generated = column.generated && treatment == Treatment::Carried;
        let type_name = match treatment {
            Treatment::LeftOut => return None,
            Treatment::Masked(Mask::Hash) => "text".to_owned(),
            Treatment::Masked(Mask::Null | Mask::Constant(_)) => {
                there.unwrap_or_else(|| column.type_name.clone())
            }
            Treatment::Carried => column.type_name.clone(),
        };
        Some(Column {
            name,
            type_name,
            generated,
        })
    });
    PublishedTable {
        name: differences.table(&table.name),
        columns: columns.collect(),
        identity: match &table.identity {
            Identity::Key(key) => Identity::Key(key.iter().map(|it| renamed(it)).collect()),
            other => other.clone(),
        },
        ..table.clone()
    }
}

/// Columns of the target that are to be null and may not.
pub(super) fn not_nullable(
    table: &PublishedTable,
    found: &TargetTable,
    differences: &Differences,
) -> Option<(String, String)> {
    let target = differences.table(&table.name);
    let column = found.columns.iter().find(|there| {
        let null = |column: &Column| {
            let treatment = differences.treatment(&table.name, &column.name);
            treatment == Treatment::Masked(&Mask::Null)
                && differences.column(&table.name, &column.name) == there.name
        };
        there.not_null && table.columns.iter().any(null)
    })?;
    Some((
        format!(
            "{target}: column {} is NOT NULL and masked by null",
            column.name
        ),
        format!(
            "alter table {} alter column {} drop not null",
            target.quoted(),
            change::quoted(&column.name)
        ),
    ))
}
