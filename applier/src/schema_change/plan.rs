//! From what an object was and is to the statements between.
//!
//! Columns are known by their numbers, which they keep when they are renamed; all else by name.

use change::quoted;
use change::schema_change::{
    Column, Composite, Constraint, Definition, Domain, Enum, Index, Notice, Schema, Sequence, Table,
};

use super::constraints::kept;
use super::types::{
    alter_composite, alter_domain, alter_enum, create_composite, create_domain, create_enum,
};

/// The statements that do here what was done on the source; none when it changed nothing of what is
/// carried over.
pub(crate) fn statements(notice: &Notice) -> Vec<String> {
    let mut sql = Vec::new();
    match (&notice.before, &notice.after) {
        (before, Some(Definition::Table(after))) => match before {
            Some(Definition::Table(before)) => {
                let mut before = before.clone();
                if notice.tag == "ALTER SCHEMA" {
                    // The schema's own change has moved it.
                    before.schema.clone_from(&after.schema);
                }
                alter_table(&notice.tag, &mut before, after, &mut sql);
            }
            Some(
                Definition::Enum(_)
                | Definition::Domain(_)
                | Definition::Composite(_)
                | Definition::Schema(_),
            )
            | None => create_table(after, &mut sql),
        },
        (Some(Definition::Table(before)), None) => {
            sql.push(format!("drop table if exists {}", name(before)));
        }
        (Some(Definition::Enum(before)), Some(Definition::Enum(after))) => {
            alter_enum(before, after, &mut sql);
        }
        (_, Some(Definition::Enum(after))) => sql.push(create_enum(after)),
        (Some(Definition::Domain(before)), Some(Definition::Domain(after))) => {
            alter_domain(before, after, &mut sql);
        }
        (_, Some(Definition::Domain(after))) => sql.push(create_domain(after)),
        (Some(Definition::Composite(before)), Some(Definition::Composite(after))) => {
            alter_composite(before, after, &mut sql);
        }
        (_, Some(Definition::Composite(after))) => sql.push(create_composite(after)),
        (Some(Definition::Enum(Enum { schema, name, .. })), None)
        | (Some(Definition::Domain(Domain { schema, name, .. })), None)
        | (Some(Definition::Composite(Composite { schema, name, .. })), None) => {
            sql.push(format!("drop type if exists {}", dotted(schema, name)));
        }
        (Some(Definition::Schema(before)), Some(Definition::Schema(after))) => {
            let (from, to) = (quoted(&before.name), quoted(&after.name));
            sql.push(format!("alter schema {from} rename to {to}"));
        }
        (_, Some(Definition::Schema(Schema { name }))) => {
            sql.push(format!("create schema if not exists {}", quoted(name)));
        }
        (Some(Definition::Schema(Schema { name })), None) => {
            sql.push(format!("drop schema if exists {}", quoted(name)));
        }
        (None, None) => {}
    }
    sql
}

/// Makes a table a partition where it is one on the source.
pub(crate) fn attachment(table: &Table) -> Option<String> {
    let (parent, bound) = (
        table.partition_of.as_ref()?,
        table.partition_bound.as_ref()?,
    );
    let parent = dotted(&parent.schema, &parent.name);
    let table = name(table);
    Some(format!(
        "alter table {parent} attach partition {table} {bound}"
    ))
}

fn create_table(table: &Table, sql: &mut Vec<String>) {
    if let (Some(parent), Some(bound)) = (&table.partition_of, &table.partition_bound) {
        let (name, parent) = (name(table), dotted(&parent.schema, &parent.name));
        let key = partition_key(table);
        sql.push(format!(
            "create table {name} partition of {parent} {bound}{key}"
        ));
        for column in &table.columns {
            // The parent's, or the partition's own.
            filling(&name, column, None, false, sql);
        }
        add_rest(&[], &table.constraints, &[], &table.indexes, table, sql);
        return;
    }
    for sequence in &table.sequences {
        sql.push(create_sequence(sequence));
    }
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|it| column(it, Rows::None))
        .collect();
    let (named, columns, key) = (name(table), columns.join(", "), partition_key(table));
    sql.push(format!("create table {named} ({columns}){key}"));
    for sequence in &table.sequences {
        sql.extend(own_sequence(sequence, table));
    }
    add_rest(&[], &table.constraints, &[], &table.indexes, table, sql);
    if table.identity != "d" {
        sql.push(replica_identity(table));
    }
}

fn alter_table(tag: &str, before: &mut Table, after: &Table, sql: &mut Vec<String>) {
    let table = name(after);
    if before.schema != after.schema {
        let (from, schema) = (name(before), quoted(&after.schema));
        sql.push(format!("alter table {from} set schema {schema}"));
    }
    if before.name != after.name {
        let from = dotted(&after.schema, &before.name);
        sql.push(format!(
            "alter table {from} rename to {}",
            quoted(&after.name)
        ));
    }
    let mut inherits = before.partition_of.is_some();
    // A parent that was renamed is the same.
    let moves = before.partition_of.is_some() != after.partition_of.is_some();
    if moves {
        if let Some(parent) = &before.partition_of {
            let parent = dotted(&parent.schema, &parent.name);
            sql.push(format!("alter table {parent} detach partition {table}"));
        }
        if let Some(attach) = attachment(after) {
            sql.push(attach);
            inherits = true;
        }
    }
    let renamed = before.columns.iter().any(|old| {
        let now = after.columns.iter().find(|it| it.number == old.number);
        now.is_some_and(|now| now.name != old.name)
    });
    if renamed {
        // A statement that renames a column does nothing else; what names it follows by itself.
        if !inherits {
            alter_columns(before, after, sql);
        }
        return;
    }
    if !moves {
        let alter = format!("alter table {table}");
        before.constraints = kept(&alter, &before.constraints, &after.constraints, sql);
        drop_constraints(before, after, sql);
    }
    // Anything else that takes an index from a partition does so here, or has made it a part of its
    // parent's.
    if !moves && (!inherits || tag == "DROP INDEX") {
        drop_indexes(before, after, sql);
    }
    match inherits {
        false => alter_columns(before, after, sql),
        true => alter_own(before, after, sql),
    }
    // Attaching and detaching make and take constraints and indexes.
    if !moves {
        add_rest(
            &before.constraints,
            &after.constraints,
            &before.indexes,
            &after.indexes,
            after,
            sql,
        );
    }
    if (&before.identity, &before.identity_index) != (&after.identity, &after.identity_index) {
        sql.push(replica_identity(after));
    }
}

/// Those that are gone, or others by their names.
fn drop_constraints(before: &Table, after: &Table, sql: &mut Vec<String>) {
    let table = name(after);
    for old in &before.constraints {
        if !after.constraints.contains(old) {
            let name = quoted(&old.name);
            sql.push(format!(
                "alter table {table} drop constraint if exists {name}"
            ));
        }
    }
}

/// As [`drop_constraints`].
fn drop_indexes(before: &Table, after: &Table, sql: &mut Vec<String>) {
    for old in &before.indexes {
        if !after.indexes.iter().any(|it| same_index(old, it)) {
            let name = dotted(&after.schema, &old.name);
            sql.push(format!("drop index if exists {name}"));
        }
    }
}

fn alter_columns(before: &Table, after: &Table, sql: &mut Vec<String>) {
    let table = name(after);
    let of = |columns: &'_ [Column], number| columns.iter().position(|it| it.number == number);
    for old in &before.columns {
        if of(&after.columns, old.number).is_none() {
            let name = quoted(&old.name);
            sql.push(format!("alter table {table} drop column if exists {name}"));
        }
    }
    for sequence in &after.sequences {
        if !before.sequences.iter().any(|it| it.name == sequence.name) {
            sql.push(create_sequence(sequence));
        }
    }
    for new in &after.columns {
        match of(&before.columns, new.number).and_then(|at| before.columns.get(at)) {
            Some(old) => alter_column(&table, old, new, sql),
            None => {
                sql.push(format!(
                    "alter table {table} add column {}",
                    column(new, Rows::Some)
                ));
                if let (Some(_), Some(default)) = (&new.missing, &new.default) {
                    let name = quoted(&new.name);
                    sql.push(format!(
                        "alter table {table} alter column {name} set default {default}"
                    ));
                } else if new.missing.is_some() {
                    let name = quoted(&new.name);
                    sql.push(format!(
                        "alter table {table} alter column {name} drop default"
                    ));
                }
            }
        }
    }
    for sequence in &after.sequences {
        if !before.sequences.iter().any(|it| it.name == sequence.name) {
            sql.extend(own_sequence(sequence, after));
        }
    }
}

/// What a partition has of its own; all else of its columns comes and goes with its parent's.
fn alter_own(before: &Table, after: &Table, sql: &mut Vec<String>) {
    let table = name(after);
    for new in &after.columns {
        let old = before.columns.iter().find(|it| it.number == new.number);
        let Some(old) = old else { continue };
        let mut default = old.default.as_deref();
        if is_retyped(old, new) && new.generated.is_none() {
            // Its parent's came with the parent's new type.
            default = new.default.as_deref();
            let (column, action) = (quoted(&new.name), setting(default));
            sql.push(format!(
                "alter table {table} alter column {column} {action}"
            ));
        }
        filling(&table, new, default, old.not_null, sql);
    }
}

fn alter_column(table: &str, old: &Column, new: &Column, sql: &mut Vec<String>) {
    let column = quoted(&new.name);
    if old.name != new.name {
        let from = quoted(&old.name);
        sql.push(format!(
            "alter table {table} rename column {from} to {column}"
        ));
    }
    let mut alter = |action: String| {
        sql.push(format!(
            "alter table {table} alter column {column} {action}"
        ));
    };
    let mut default = old.default.as_deref();
    if is_retyped(old, new) {
        // A default is not always one of the new type.
        if default.is_some() && old.generated.is_none() {
            alter("drop default".to_owned());
            default = None;
        }
        let type_name = &new.type_name;
        let collation = collation(new.collation.as_deref());
        match new.generated.is_some() {
            true => alter(format!("type {type_name}{collation}")),
            false => alter(format!(
                "type {type_name}{collation} using {column}::{type_name}"
            )),
        }
    }
    if old.identity.is_some() && new.identity.is_none() {
        alter("drop identity if exists".to_owned());
    }
    if old.generated.is_some() && new.generated.is_none() {
        alter("drop expression if exists".to_owned());
        default = None;
    }
    if old.generated.is_some() && new.generated.is_some() && old.default != new.default {
        let expression = new.default.as_deref().unwrap_or("null");
        alter(format!("set expression as ({expression})"));
    }
    filling(table, new, default, old.not_null, sql);
    // Wants a column without a default and with NOT NULL.
    if old.identity.is_none() && new.identity.is_some() {
        sql.push(format!(
            "alter table {table} alter column {column} add {IDENTITY}"
        ));
    }
}

fn is_retyped(old: &Column, new: &Column) -> bool {
    (&old.type_name, &old.collation) != (&new.type_name, &new.collation)
}

fn setting(default: Option<&str>) -> String {
    match default {
        Some(default) => format!("set default {default}"),
        None => "drop default".to_owned(),
    }
}

/// Whether a column may be null, and what it is when nobody says, where it is otherwise now.
fn filling(
    table: &str,
    new: &Column,
    default: Option<&str>,
    not_null: bool,
    sql: &mut Vec<String>,
) {
    let column = quoted(&new.name);
    let mut alter = |action: String| {
        sql.push(format!(
            "alter table {table} alter column {column} {action}"
        ));
    };
    if new.generated.is_none() && default != new.default.as_deref() {
        alter(setting(new.default.as_deref()));
    }
    match (not_null, new.not_null) {
        (false, true) => alter("set not null".to_owned()),
        (true, false) => alter("drop not null".to_owned()),
        (true, true) | (false, false) => {}
    }
}

/// Constraints and indexes that are new; foreign keys last, since they refer to the other constraints.
fn add_rest(
    old_constraints: &[Constraint],
    constraints: &[Constraint],
    old_indexes: &[Index],
    indexes: &[Index],
    table: &Table,
    sql: &mut Vec<String>,
) {
    let new = constraints
        .iter()
        .filter(|it| !old_constraints.contains(it));
    let (foreign, own): (Vec<&Constraint>, Vec<&Constraint>) = new.partition(|it| it.kind == "f");
    let table = name(table);
    for constraint in own.into_iter().chain(foreign) {
        let (name, definition) = (quoted(&constraint.name), &constraint.definition);
        sql.push(format!(
            "alter table {table} add constraint {name} {definition}"
        ));
    }
    for index in indexes {
        if !old_indexes.iter().any(|it| same_index(it, index)) {
            sql.push(index.definition.clone());
        }
    }
}

/// A table that moved or was renamed writes its indexes otherwise; they are the same.
fn same_index(one: &Index, other: &Index) -> bool {
    let rest = |index: &'_ Index| {
        let (_, rest) = index.definition.split_once(" USING ").unwrap_or_default();
        rest.to_owned()
    };
    one.name == other.name && rest(one) == rest(other)
}

/// Whether a column is added to rows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rows {
    None,
    Some,
}

fn column(column: &Column, rows: Rows) -> String {
    let mut sql = format!(
        "{} {}{}",
        quoted(&column.name),
        column.type_name,
        collation(column.collation.as_deref())
    );
    match (&column.generated, &column.identity, &column.default) {
        (Some(kind), _, Some(expression)) => {
            let kind = match kind.as_str() {
                "v" => "virtual",
                _ => "stored",
            };
            sql.push_str(&format!(" generated always as ({expression}) {kind}"));
        }
        (_, Some(_), _) => {
            sql.push(' ');
            sql.push_str(IDENTITY);
        }
        (_, _, default) => match (rows, &column.missing, default) {
            (Rows::Some, Some(missing), _) => {
                let type_name = &column.type_name;
                sql.push_str(&format!(" default {}::{type_name}", literal(missing)));
            }
            (_, _, Some(default)) => sql.push_str(&format!(" default {default}")),
            (_, _, None) => {}
        },
    }
    if column.not_null {
        sql.push_str(" not null");
    }
    sql
}

/// Whatever it is on the source: there is no update of a column that is always generated, and it is the
/// source that numbers.
const IDENTITY: &str = "generated by default as identity";

pub(super) fn collation(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!(" collate {name}"))
}

fn partition_key(table: &Table) -> String {
    let key = table.partition_key.as_ref();
    key.map_or_else(String::new, |key| format!(" partition by {key}"))
}

fn replica_identity(table: &Table) -> String {
    let identity = match (table.identity.as_str(), &table.identity_index) {
        ("f", _) => "full".to_owned(),
        ("n", _) => "nothing".to_owned(),
        ("i", Some(index)) => format!("using index {}", quoted(index)),
        _ => "default".to_owned(),
    };
    format!("alter table {} replica identity {identity}", name(table))
}

fn create_sequence(sequence: &Sequence) -> String {
    let Sequence {
        type_name,
        start,
        increment,
        min,
        max,
        cache,
        ..
    } = sequence;
    let name = dotted(&sequence.schema, &sequence.name);
    let cycle = match sequence.cycle {
        true => " cycle",
        false => "",
    };
    format!(
        "create sequence if not exists {name} as {type_name} increment by {increment} \
         minvalue {min} maxvalue {max} start with {start} cache {cache}{cycle}"
    )
}

/// Postgres wants both in one schema: not where the table is in another one here.
fn own_sequence(sequence: &Sequence, table: &Table) -> Option<String> {
    let (owned, owner) = (dotted(&sequence.schema, &sequence.name), name(table));
    let column = quoted(&sequence.column);
    let is_beside = sequence.schema == table.schema;
    is_beside.then(|| format!("alter sequence {owned} owned by {owner}.{column}"))
}

fn name(table: &Table) -> String {
    dotted(&table.schema, &table.name)
}

pub(super) fn dotted(schema: &str, name: &str) -> String {
    format!("{}.{}", quoted(schema), quoted(name))
}

/// A string constant, whatever it holds (manual, "String Constants"; the session has
/// `standard_conforming_strings`).
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests;
