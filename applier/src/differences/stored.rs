//! What apply works with, kept on the target: those who compare, replay or repair need not be told, and a
//! change of it is noticed.

use std::collections::BTreeSet;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tracing::warn;

use super::{Differences, DifferencesError};
use crate::error::{Error, step};
use crate::progress;

const MASK_KEY: &str = "mask-key";
/// So that the key can be told from another one: its hash of this, of which so much.
const FINGERPRINT_OF: &[u8] = b"lockstep";
const FINGERPRINT_DIGITS: usize = 16;

impl Differences {
    /// These, where there are any, else those that apply works with.
    ///
    /// # Errors
    /// When the target does not answer, or the key of hashes is not that of apply.
    pub async fn or_stored(&self, client: &Client, pipeline: &str) -> Result<Self, Error> {
        if !self.is_empty() {
            self.check()?;
            return Ok(self.clone());
        }
        let lines = read(client, pipeline).await?.unwrap_or_default();
        let stored = Self {
            mask_key: self.mask_key.clone(),
            ..Self::parse(lines.iter().cloned())?
        };
        let fingerprint = stored.fingerprint();
        if fingerprint.is_some_and(|fingerprint| !lines.contains(&fingerprint)) {
            return Err(DifferencesError::OtherMaskKey.into());
        }
        Ok(stored)
    }

    /// By the lines that [`Differences::lines`] made.
    pub(super) fn parse(lines: impl Iterator<Item = String>) -> Result<Self, DifferencesError> {
        let stored = |_| DifferencesError::Stored;
        let mut all = Self::default();
        for line in lines {
            let (option, value) = line.split_once(' ').ok_or(DifferencesError::Stored)?;
            match option {
                "rename" => all.rename.push(value.parse().map_err(stored)?),
                "rename-schema" => all.rename_schema.push(value.parse().map_err(stored)?),
                "rename-column" => all.rename_column.push(value.parse().map_err(stored)?),
                "leave-out" => all.leave_out.push(value.parse().map_err(stored)?),
                "mask" => all.mask.push(value.parse().map_err(stored)?),
                MASK_KEY => {}
                _ => return Err(DifferencesError::Stored),
            }
        }
        Ok(all)
    }

    fn lines(&self) -> BTreeSet<String> {
        let line = |option: &str, value: &dyn ToString| format!("{option} {}", value.to_string());
        let renamed = self.rename.iter().map(|it| line("rename", it));
        let schemas = self.rename_schema.iter();
        let columns = self.rename_column.iter();
        let all = renamed
            .chain(schemas.map(|it| line("rename-schema", it)))
            .chain(columns.map(|it| line("rename-column", it)))
            .chain(self.leave_out.iter().map(|it| line("leave-out", it)))
            .chain(self.mask.iter().map(|it| line("mask", it)));
        all.chain(self.fingerprint()).collect()
    }

    fn fingerprint(&self) -> Option<String> {
        let key = self.mask_key().filter(|_| self.has_hashes())?;
        let hash = key.hash(FINGERPRINT_OF);
        Some(format!("{MASK_KEY} {}", &hash[..FINGERPRINT_DIGITS]))
    }
}

/// Writes down what apply works with from now on, and warns where that is something else than before.
///
/// # Errors
/// When options are at odds, or dead letters wait that were made by others.
pub(crate) async fn settle(
    client: &Client,
    pipeline: &str,
    differences: &Differences,
) -> Result<(), Error> {
    differences.check()?;
    let before = read(client, pipeline).await?.unwrap_or_default();
    let before = BTreeSet::from_iter(before);
    let now = differences.lines();
    if before == now {
        return Ok(());
    }
    let applied = progress::read(client, pipeline).await;
    let applied = applied.map_err(step("read lockstep.progress"))?.is_some();
    let changed: BTreeSet<Concern> = before
        .symmetric_difference(&now)
        .filter_map(|line| Concern::of(line))
        .collect();
    for concern in &changed {
        concern.refuse_letters(client, pipeline).await?;
        if applied {
            let (what, mend) = concern.text();
            warn!(
                "{what} on the target otherwise than before: rows that were applied stay as they are until \
                 {mend}"
            );
        }
    }
    let write = "insert into lockstep.differences (pipeline, options) values ($1, $2) \
                 on conflict (pipeline) do update set options = excluded.options, \
                 written_at = clock_timestamp()";
    let options: Vec<&String> = now.iter().collect();
    let written = client.execute(write, &[&pipeline, &options]).await;
    written.map_err(step("write lockstep.differences"))?;
    Ok(())
}

async fn read(client: &Client, pipeline: &str) -> Result<Option<Vec<String>>, Error> {
    let query = "select options from lockstep.differences where pipeline = $1";
    match client.query_opt(query, &[&pipeline]).await {
        Ok(row) => Ok(row.map(|row| row.get(0))),
        // Nothing was applied yet, or by a version that knew no differences.
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(None),
        Err(error) => Err(step("read lockstep.differences")(error)),
    }
}

/// Whom a changed option concerns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Concern {
    Schema(String),
    Table(change::TableName),
    /// Other columns, or other values in them.
    Rows(change::TableName),
    Hashes,
}

impl Concern {
    fn of(line: &str) -> Option<Self> {
        let mut one = Differences::parse(std::iter::once(line.to_owned())).ok()?;
        let rows = one.leave_out.pop();
        let rows = rows.or_else(|| one.mask.pop().map(|it| it.column));
        let names = one.rename.pop().map(|it| it.from);
        let names = names.or_else(|| one.rename_column.pop().map(|it| it.from.table));
        let schema = one.rename_schema.pop().map(|it| it.from);
        rows.map(|it| Self::Rows(it.table))
            .or_else(|| names.map(Self::Table))
            .or_else(|| schema.map(Self::Schema))
            .or_else(|| line.starts_with(MASK_KEY).then_some(Self::Hashes))
    }

    /// What is otherwise, and until when.
    fn text(&self) -> (String, String) {
        match self {
            Self::Schema(schema) => (
                format!("tables of schema {schema} are called"),
                "`lockstep snapshot --table` has read each again".to_owned(),
            ),
            Self::Table(table) => (
                format!("table {table} or its columns are called"),
                format!("`lockstep snapshot --table {table}` has read it again"),
            ),
            Self::Rows(table) => (
                format!("columns of table {table} are left out or masked"),
                format!("`lockstep snapshot --table {table}` has read it again"),
            ),
            Self::Hashes => (
                "columns are hashed, with another key,".to_owned(),
                "`lockstep snapshot --table` has read each of their tables again".to_owned(),
            ),
        }
    }

    /// What was set aside has the columns, and the values, of then.
    async fn refuse_letters(&self, client: &Client, pipeline: &str) -> Result<(), Error> {
        let Self::Rows(table) = self else {
            return Ok(());
        };
        let query = "select exists (select from lockstep.dead_letters where pipeline = $1 \
                     and table_schema = $2 and table_name = $3 and state = 'open')";
        let open = client
            .query_one(query, &[&pipeline, &table.schema, &table.name])
            .await;
        let open = open.map_err(step("read lockstep.dead_letters"))?;
        match open.get(0) {
            true => Err(DifferencesError::OpenLetters {
                table: table.to_string(),
            }
            .into()),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::differences;
    use super::*;

    #[test]
    fn what_is_kept_is_what_was_given() {
        let given = differences(&[
            "rename-schema public=crm",
            "rename public.people=hr.persons",
            "rename-column public.people.name=full_name",
            "leave-out public.people.ssn",
            "mask public.people.email=hash",
            "mask public.people.note=constant:a b",
        ]);
        let lines = given.lines();
        assert_eq!(lines.len(), 7);
        let mut read = Differences::parse(lines.iter().cloned()).unwrap();
        read.mask_key.clone_from(&given.mask_key);
        assert_eq!(read.lines(), lines);
        let key = lines.iter().find_map(|line| line.strip_prefix("mask-key "));
        assert_eq!(key.map(str::len), Some(FINGERPRINT_DIGITS));
    }

    #[test]
    fn a_changed_option_names_whom_it_concerns() {
        let table = change::TableName::new("public", "a");
        let of = |line| Concern::of(line).unwrap();
        assert_eq!(of("rename public.a=x.a"), Concern::Table(table.clone()));
        assert_eq!(of("mask public.a.b=null"), Concern::Rows(table.clone()));
        assert_eq!(of("leave-out public.a.b"), Concern::Rows(table));
        assert_eq!(of("rename-schema s=t"), Concern::Schema("s".to_owned()));
        assert_eq!(of("mask-key 00ff"), Concern::Hashes);
    }
}
