//! Enums, domains and composite types. All three are types to the statements that move them.

use change::quoted;
use change::schema_change::{Attribute, Composite, Domain, Enum};

use super::constraints::kept;
use super::plan::{collation, dotted, literal};

/// Gives a type the schema and the name that it has now, and answers that.
fn moved(before: (&str, &str), after: (&str, &str), sql: &mut Vec<String>) -> String {
    let ((old_schema, old_name), (schema, name)) = (before, after);
    if old_schema != schema {
        let (from, schema) = (dotted(old_schema, old_name), quoted(schema));
        sql.push(format!("alter type {from} set schema {schema}"));
    }
    if old_name != name {
        let (from, name) = (dotted(schema, old_name), quoted(name));
        sql.push(format!("alter type {from} rename to {name}"));
    }
    dotted(schema, name)
}

pub(super) fn create_enum(it: &Enum) -> String {
    let labels: Vec<String> = it.labels.iter().map(|it| literal(it)).collect();
    let (name, labels) = (dotted(&it.schema, &it.name), labels.join(", "));
    format!("create type {name} as enum ({labels})")
}

/// A label that took another's place was renamed; others were added.
pub(super) fn alter_enum(before: &Enum, after: &Enum, sql: &mut Vec<String>) {
    let name = moved(
        (&before.schema, &before.name),
        (&after.schema, &after.name),
        sql,
    );
    if before.labels.len() == after.labels.len() {
        for (old, new) in before.labels.iter().zip(&after.labels) {
            if old != new {
                let (old, new) = (literal(old), literal(new));
                sql.push(format!("alter type {name} rename value {old} to {new}"));
            }
        }
        return;
    }
    for (at, label) in after.labels.iter().enumerate() {
        if before.labels.contains(label) {
            continue;
        }
        let place = match at.checked_sub(1).and_then(|at| after.labels.get(at)) {
            Some(previous) => format!(" after {}", literal(previous)),
            None => match before.labels.first() {
                Some(first) => format!(" before {}", literal(first)),
                None => String::new(),
            },
        };
        let label = literal(label);
        sql.push(format!(
            "alter type {name} add value if not exists {label}{place}"
        ));
    }
}

/// In one statement, so that there is no domain that takes more than the source's.
pub(super) fn create_domain(it: &Domain) -> String {
    let (name, type_name) = (dotted(&it.schema, &it.name), &it.type_name);
    let collation = collation(it.collation.as_deref());
    let mut sql = format!("create domain {name} as {type_name}{collation}");
    if let Some(default) = &it.default {
        sql.push_str(&format!(" default {default}"));
    }
    if it.not_null {
        sql.push_str(" not null");
    }
    for constraint in &it.constraints {
        let (name, definition) = (quoted(&constraint.name), &constraint.definition);
        sql.push_str(&format!(" constraint {name} {definition}"));
    }
    sql
}

/// What it is over stays for its life, and is at most called otherwise.
pub(super) fn alter_domain(before: &Domain, after: &Domain, sql: &mut Vec<String>) {
    let name = moved(
        (&before.schema, &before.name),
        (&after.schema, &after.name),
        sql,
    );
    let alter = format!("alter domain {name}");
    let constraints = kept(&alter, &before.constraints, &after.constraints, sql);
    for old in &constraints {
        if !after.constraints.contains(old) {
            let name = quoted(&old.name);
            sql.push(format!("{alter} drop constraint if exists {name}"));
        }
    }
    if before.default != after.default {
        sql.push(match &after.default {
            Some(default) => format!("{alter} set default {default}"),
            None => format!("{alter} drop default"),
        });
    }
    match (before.not_null, after.not_null) {
        (false, true) => sql.push(format!("{alter} set not null")),
        (true, false) => sql.push(format!("{alter} drop not null")),
        (true, true) | (false, false) => {}
    }
    for new in &after.constraints {
        if !constraints.contains(new) {
            let (name, definition) = (quoted(&new.name), &new.definition);
            sql.push(format!("{alter} add constraint {name} {definition}"));
        }
    }
}

pub(super) fn create_composite(it: &Composite) -> String {
    let attributes: Vec<String> = it.attributes.iter().map(attribute).collect();
    let (name, attributes) = (dotted(&it.schema, &it.name), attributes.join(", "));
    format!("create type {name} as ({attributes})")
}

/// Attributes are known by their numbers, as columns are.
pub(super) fn alter_composite(before: &Composite, after: &Composite, sql: &mut Vec<String>) {
    let name = moved(
        (&before.schema, &before.name),
        (&after.schema, &after.name),
        sql,
    );
    let alter = format!("alter type {name}");
    for old in &before.attributes {
        if !after.attributes.iter().any(|it| it.number == old.number) {
            let name = quoted(&old.name);
            sql.push(format!("{alter} drop attribute if exists {name}"));
        }
    }
    for new in &after.attributes {
        let old = before.attributes.iter().find(|it| it.number == new.number);
        let Some(old) = old else {
            sql.push(format!("{alter} add attribute {}", attribute(new)));
            continue;
        };
        if old.name != new.name {
            let (from, to) = (quoted(&old.name), quoted(&new.name));
            sql.push(format!("{alter} rename attribute {from} to {to}"));
        }
        if (&old.type_name, &old.collation) != (&new.type_name, &new.collation) {
            let (name, type_name) = (quoted(&new.name), &new.type_name);
            let collation = collation(new.collation.as_deref());
            sql.push(format!(
                "{alter} alter attribute {name} type {type_name}{collation}"
            ));
        }
    }
}

fn attribute(it: &Attribute) -> String {
    let (name, type_name) = (quoted(&it.name), &it.type_name);
    format!("{name} {type_name}{}", collation(it.collation.as_deref()))
}
