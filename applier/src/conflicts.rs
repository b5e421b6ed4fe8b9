//! What to do with a change that the target refuses.

use std::str::FromStr;

use change::TableName;

/// A policy, by table.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Conflicts {
    /// What to do with a change that the target refuses: stop, or set it aside with the later
    /// changes of its key (dead-letter).
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Policy {
    #[default]
    Stop,
    DeadLetter,
}

/// One table's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePolicy {
    /// As messages have it: `public.articles`.
    table: String,
    policy: Policy,
}

#[derive(Debug, thiserror::Error)]
#[error("a table's policy is schema.table=stop or schema.table=dead-letter")]
pub struct NoPolicy;

impl FromStr for TablePolicy {
    type Err = NoPolicy;

    fn from_str(text: &str) -> Result<Self, NoPolicy> {
        let (table, policy) = text.rsplit_once('=').ok_or(NoPolicy)?;
        let policy = match policy {
            "stop" => Policy::Stop,
            "dead-letter" => Policy::DeadLetter,
            _ => return Err(NoPolicy),
        };
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
    /// Whether refused changes of a table are set aside.
    pub(crate) fn set_aside(&self, table: &TableName) -> bool {
        let name = table.to_string();
        let own = self.table_conflicts.iter().rfind(|it| it.table == name);
        own.map_or(self.conflicts, |own| own.policy) == Policy::DeadLetter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tables_own_policy_counts() {
        let conflicts = Conflicts {
            conflicts: Policy::Stop,
            table_conflicts: vec!["public.a=dead-letter".parse().unwrap()],
        };
        assert!(conflicts.set_aside(&TableName::new("public", "a")));
        assert!(!conflicts.set_aside(&TableName::new("public", "b")));
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for text in ["public.a", "public.a=skip", "a=stop", "=stop"] {
            assert!(text.parse::<TablePolicy>().is_err(), "{text}");
        }
    }
}
