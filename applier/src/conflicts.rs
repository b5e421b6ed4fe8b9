//! What to do with a change that the target refuses.

use std::str::FromStr;

use change::TableName;
use clap::ValueEnum;

/// A policy, by table.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Conflicts {
    /// What to do with a change that the target refuses: stop, set it aside with the later changes
    /// of its key (dead-letter), or delete the rows that are in its way (overwrite).
    #[arg(
        long,
        env = "LOCKSTEP_CONFLICTS",
        value_name = "POLICY",
        default_value = "stop"
    )]
    pub conflicts: Policy,
    /// The same for one table, as schema.table=POLICY; repeatable.
    #[arg(
        long,
        env = "LOCKSTEP_TABLE_CONFLICTS",
        value_name = "TABLE=POLICY",
        value_delimiter = ';'
    )]
    pub table_conflicts: Vec<TablePolicy>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    Stop,
    /// Sets the change aside, with the later ones of its key.
    DeadLetter,
    /// Deletes the rows that a unique or exclusion constraint does not allow beside the change's;
    /// stops for anything else.
    Overwrite,
}

/// One table's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePolicy {
    /// As messages have it: `public.articles`.
    table: String,
    policy: Policy,
}

#[derive(Debug, thiserror::Error)]
#[error("a table's policy is schema.table=stop, =dead-letter or =overwrite")]
pub struct NoPolicy;

impl FromStr for TablePolicy {
    type Err = NoPolicy;

    fn from_str(text: &str) -> Result<Self, NoPolicy> {
        let (table, policy) = text.rsplit_once('=').ok_or(NoPolicy)?;
        let policy = Policy::from_str(policy, false).map_err(|_| NoPolicy)?;
        match table.contains('.') {
            true => Ok(Self {
                table: table.to_owned(),
                policy,
            }),
            false => Err(NoPolicy),
        }
    }
}

impl Conflicts {
    /// A table's own policy, or that of all.
    pub(crate) fn policy(&self, table: &TableName) -> Policy {
        let name = table.to_string();
        let own = self.table_conflicts.iter().rfind(|it| it.table == name);
        own.map_or(self.conflicts, |own| own.policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tables_own_policy_counts() {
        let conflicts = Conflicts {
            conflicts: Policy::Stop,
            table_conflicts: ["public.a=dead-letter", "public.o=overwrite"]
                .map(|text| text.parse().unwrap())
                .into(),
        };
        let policy = |name| conflicts.policy(&TableName::new("public", name));
        assert_eq!(policy("a"), Policy::DeadLetter);
        assert_eq!(policy("o"), Policy::Overwrite);
        assert_eq!(policy("b"), Policy::Stop);
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for text in ["public.a", "public.a=skip", "a=stop", "=stop"] {
            assert!(text.parse::<TablePolicy>().is_err(), "{text}");
        }
    }
}
