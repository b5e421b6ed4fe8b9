//! What to do with a change of a table.

use std::str::FromStr;

/// A policy, by kind of statement.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct SchemaChanges {
    /// What to do with a change of a table's, a type's or a schema's definition: make it here too, at
    /// its place (apply); let the table wait until somebody has (hold); nothing (ignore).
    #[arg(
        long,
        env = "LOCKSTEP_SCHEMA_CHANGES",
        value_name = "POLICY",
        default_value = "apply"
    )]
    pub schema_changes: SchemaPolicy,
    /// The same for one kind of statement, as 'DROP TABLE=POLICY'; repeatable.
    #[arg(
        long,
        env = "LOCKSTEP_SCHEMA_CHANGES_OF",
        value_name = "STATEMENT=POLICY",
        value_delimiter = ';'
    )]
    pub schema_changes_of: Vec<TagPolicy>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum SchemaPolicy {
    #[default]
    Apply,
    Hold,
    Ignore,
}

/// The policy of one kind of statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagPolicy {
    /// As Postgres has it: `DROP TABLE`.
    tag: String,
    policy: SchemaPolicy,
}

#[derive(Debug, thiserror::Error)]
#[error("a kind's policy is 'DROP TABLE=apply', '…=hold' or '…=ignore'")]
pub struct NoSchemaPolicy;

impl FromStr for TagPolicy {
    type Err = NoSchemaPolicy;

    fn from_str(text: &str) -> Result<Self, NoSchemaPolicy> {
        let (tag, policy) = text.rsplit_once('=').ok_or(NoSchemaPolicy)?;
        let policy = match policy {
            "apply" => SchemaPolicy::Apply,
            "hold" => SchemaPolicy::Hold,
            "ignore" => SchemaPolicy::Ignore,
            _ => return Err(NoSchemaPolicy),
        };
        let tag = tag.trim().to_uppercase();
        match tag.split_once(' ') {
            Some(("CREATE" | "ALTER" | "DROP" | "SELECT", _)) => Ok(Self { tag, policy }),
            Some(_) | None => Err(NoSchemaPolicy),
        }
    }
}

impl SchemaChanges {
    pub(crate) fn of(&self, tag: &str) -> SchemaPolicy {
        let own = self.schema_changes_of.iter().rfind(|it| it.tag == tag);
        own.map_or(self.schema_changes, |own| own.policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kinds_own_policy_counts() {
        let changes = SchemaChanges {
            schema_changes: SchemaPolicy::Apply,
            schema_changes_of: vec!["drop table=hold".parse().unwrap()],
        };
        assert_eq!(changes.of("DROP TABLE"), SchemaPolicy::Hold);
        assert_eq!(changes.of("ALTER TABLE"), SchemaPolicy::Apply);
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for text in ["DROP TABLE", "DROP TABLE=skip", "TABLE=hold", "=hold"] {
            assert!(text.parse::<TagPolicy>().is_err(), "{text}");
        }
    }
}
