//! Constraints that stay, under another name or for more rows than before.

use change::quoted;
use change::schema_change::Constraint;

/// How `pg_get_constraintdef` ends for one that was not looked at for the rows of then.
const NOT_VALID: &str = " NOT VALID";

/// Renames and validates those that are in both lists, and answers what they are then. `alter` begins
/// the statements: `alter table t`.
pub(super) fn kept(
    alter: &str,
    before: &[Constraint],
    after: &[Constraint],
    sql: &mut Vec<String>,
) -> Vec<Constraint> {
    let mut kept: Vec<Constraint> = Vec::with_capacity(before.len());
    for old in before {
        let renamed = |new: &&Constraint| {
            let is_taken = before.iter().chain(&kept).any(|it| it.name == new.name);
            !is_taken && (&new.kind, &new.definition) == (&old.kind, &old.definition)
        };
        let same = after.iter().find(|new| new.name == old.name);
        match same.or_else(|| after.iter().find(renamed)) {
            Some(new) if new.name != old.name => {
                let (from, to) = (quoted(&old.name), quoted(&new.name));
                sql.push(format!("{alter} rename constraint {from} to {to}"));
                kept.push(new.clone());
            }
            Some(new) if old.definition.strip_suffix(NOT_VALID) == Some(&new.definition) => {
                let name = quoted(&new.name);
                sql.push(format!("{alter} validate constraint {name}"));
                kept.push(new.clone());
            }
            Some(_) | None => kept.push(old.clone()),
        }
    }
    kept
}
