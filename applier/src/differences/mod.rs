//! Where the target's tables differ from the source's by configuration: other names, columns that are left
//! out, and columns whose values are masked.
//!
//! Everything that operators, messages and `lockstep.*` name keeps the source's names. A record's values are
//! left out and masked where it is decoded ([`crate::decode`]), so that neither memory nor a dead letter
//! holds them; what reads or writes a table on the target asks here what that is called.
//!
//! - `option`: what people write;
//! - `stored`: what apply has worked with, on the target, for all others who look at it;
//! - `translate`: changes of tables, with the target's names;
//! - `widening`: types that may differ without any configuration.

mod option;
mod stored;
mod translate;
mod widening;

pub use option::{
    ColumnName, MaskedColumn, NoDifference, RenamedColumn, RenamedSchema, RenamedTable,
};
pub(crate) use stored::settle;
pub(crate) use translate::{Untranslatable, translated};
pub(crate) use widening::rounds;
pub use widening::widens;

use std::collections::HashSet;
use std::fmt;

use change::TableName;
use hmac::{Hmac, KeyInit, Mac};
use service::Secret;
use sha2::Sha256;

pub use option::Mask;

/// The differences of a pipeline's tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Differences {
    /// A table that has another name on the target; repeatable.
    #[arg(
        long,
        global = true,
        env = "LOCKSTEP_RENAME",
        value_name = "TABLE=TABLE",
        value_delimiter = ';'
    )]
    pub(crate) rename: Vec<RenamedTable>,
    /// A schema whose tables are in another one on the target; repeatable.
    #[arg(
        long,
        global = true,
        env = "LOCKSTEP_RENAME_SCHEMA",
        value_name = "SCHEMA=SCHEMA",
        value_delimiter = ';'
    )]
    pub(crate) rename_schema: Vec<RenamedSchema>,
    /// A column that has another name on the target; repeatable.
    #[arg(
        long,
        global = true,
        env = "LOCKSTEP_RENAME_COLUMN",
        value_name = "COLUMN=NAME",
        value_delimiter = ';'
    )]
    pub(crate) rename_column: Vec<RenamedColumn>,
    /// A column that the target does not get, as schema.table.column; repeatable.
    #[arg(
        long,
        global = true,
        env = "LOCKSTEP_LEAVE_OUT",
        value_name = "COLUMN",
        value_delimiter = ';'
    )]
    pub(crate) leave_out: Vec<ColumnName>,
    /// A column that is null, constant:TEXT, or a keyed hash on the target; repeatable.
    #[arg(
        long,
        global = true,
        env = "LOCKSTEP_MASK",
        value_name = "COLUMN=MASK",
        value_delimiter = ';'
    )]
    pub(crate) mask: Vec<MaskedColumn>,
    /// The key of hashes: the text itself, or file:/path.
    #[arg(
        long,
        global = true,
        env = "LOCKSTEP_MASK_KEY",
        value_name = "SECRET",
        hide_env_values = true
    )]
    pub(crate) mask_key: Option<Secret>,
}

/// Why tables cannot differ so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DifferencesError {
    #[error("there are two options for {0}: leave one out")]
    Twice(String),
    #[error("two of the source go into {0} on the target: give one of them another name")]
    OneTarget(String),
    #[error(
        "column {column} is of the key of table {table}, which tells rows apart on both sides: it \
         can be renamed, but neither masked nor left out"
    )]
    Key { table: TableName, column: String },
    #[error("hashes need a key: give --mask-key (LOCKSTEP_MASK_KEY)")]
    NoMaskKey,
    #[error("the key of hashes is not that of apply: give its --mask-key (LOCKSTEP_MASK_KEY)")]
    OtherMaskKey,
    #[error(
        "{table} has dead letters that were set aside while its columns differed otherwise: start \
         the applier with the former options, and redrive or discard them first"
    )]
    OpenLetters { table: String },
    #[error("read lockstep.differences: another version wrote it")]
    Stored,
}

/// What the target gets of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment<'a> {
    Carried,
    LeftOut,
    Masked(&'a Mask),
}

impl Differences {
    pub fn is_empty(&self) -> bool {
        let Self {
            rename,
            rename_schema,
            rename_column,
            leave_out,
            mask,
            mask_key: _,
        } = self;
        rename.is_empty()
            && rename_schema.is_empty()
            && rename_column.is_empty()
            && leave_out.is_empty()
            && mask.is_empty()
    }

    /// What a table of the source is called on the target.
    pub fn table(&self, source: &TableName) -> TableName {
        if let Some(own) = self.rename.iter().find(|it| it.from == *source) {
            return own.to.clone();
        }
        let schemas = &mut self.rename_schema.iter();
        match schemas.find(|it| it.from == source.schema) {
            Some(schema) => TableName::new(&schema.to, &source.name),
            None => source.clone(),
        }
    }

    /// What a column of the source's table is called on the target.
    pub fn column<'a>(&'a self, table: &TableName, column: &'a str) -> &'a str {
        let mut renamed = self.rename_column.iter();
        let own = renamed.find(|it| it.from.is(table, column));
        own.map_or(column, |own| &own.to)
    }

    pub fn treatment(&self, table: &TableName, column: &str) -> Treatment<'_> {
        if self.leave_out.iter().any(|it| it.is(table, column)) {
            return Treatment::LeftOut;
        }
        let mask = self.mask.iter().find(|it| it.column.is(table, column));
        mask.map_or(Treatment::Carried, |it| Treatment::Masked(&it.mask))
    }

    /// Whether an option names the table itself.
    pub(crate) fn is_named(&self, table: &TableName) -> bool {
        self.rename.iter().any(|it| it.from == *table)
            || self.columns().any(|it| it.table == *table)
    }

    /// Whether the table is something else on the target.
    pub fn are_of(&self, table: &TableName) -> bool {
        self.is_named(table) || self.table(table) != *table
    }

    /// Whether values of the table are masked.
    pub fn is_masked(&self, table: &TableName) -> bool {
        self.mask.iter().any(|it| it.column.table == *table)
    }

    /// Whether an option names the column.
    pub(crate) fn names_column(&self, table: &TableName, column: &str) -> bool {
        self.column(table, column) != column || self.treatment(table, column) != Treatment::Carried
    }

    /// The tables and columns of the source that options name.
    pub fn named(&self) -> Vec<(TableName, Option<String>)> {
        let tables = self.rename.iter().map(|it| (it.from.clone(), None));
        let columns = self.columns();
        let columns = columns.map(|it| (it.table.clone(), Some(it.column.clone())));
        tables.chain(columns).collect()
    }

    fn columns(&self) -> impl Iterator<Item = &ColumnName> {
        let renamed = self.rename_column.iter().map(|it| &it.from);
        let masked = self.mask.iter().map(|it| &it.column);
        renamed.chain(&self.leave_out).chain(masked)
    }

    /// # Errors
    /// When options are at odds.
    pub fn check(&self) -> Result<(), DifferencesError> {
        let omitted = self.leave_out.iter();
        let treated = omitted.chain(self.mask.iter().map(|it| &it.column));
        unique(self.rename.iter().map(|it| option::written(&it.from)))
            .and_then(|()| unique(self.rename_schema.iter().map(|it| it.from.clone())))
            .and_then(|()| unique(self.rename_column.iter().map(|it| it.from.to_string())))
            .and_then(|()| unique(treated.map(ToString::to_string)))
            .map_err(DifferencesError::Twice)?;
        let columns = self.rename_column.iter();
        let columns = columns.map(|it| format!("{}.{}", self.table(&it.from.table), it.to));
        unique(self.rename.iter().map(|it| it.to.to_string()))
            .and_then(|()| unique(columns))
            .map_err(DifferencesError::OneTarget)?;
        match self.has_hashes() && self.mask_key.is_none() {
            true => Err(DifferencesError::NoMaskKey),
            false => Ok(()),
        }
    }

    fn has_hashes(&self) -> bool {
        self.mask.iter().any(|it| it.mask == Mask::Hash)
    }

    pub(crate) fn mask_key(&self) -> Option<MaskKey> {
        let key = self.mask_key.as_ref()?;
        let state = Hmac::new_from_slice(key.expose().as_bytes());
        Some(MaskKey(state.expect("HMAC takes keys of any length")))
    }
}

impl ColumnName {
    fn is(&self, table: &TableName, column: &str) -> bool {
        self.table == *table && self.column == column
    }
}

/// The first that is there twice, if any is.
fn unique(names: impl Iterator<Item = String>) -> Result<(), String> {
    let mut known = HashSet::new();
    for name in names {
        if !known.insert(name.clone()) {
            return Err(name);
        }
    }
    Ok(())
}

/// The key of hashes, ready for use.
#[derive(Clone)]
pub(crate) struct MaskKey(Hmac<Sha256>);

impl MaskKey {
    pub(crate) fn hash(&self, image: &[u8]) -> String {
        let mut state = self.0.clone();
        state.update(image);
        let digest = state.finalize().into_bytes();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for MaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MaskKey")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// By their options, `option value` each.
    pub(crate) fn differences(lines: &[&str]) -> Differences {
        let lines = lines.iter().map(|line| (*line).to_owned());
        let mut differences = Differences::parse(lines).unwrap();
        differences.mask_key = Some(Secret::new("key"));
        differences
    }

    #[test]
    fn names_are_those_of_the_most_special_option() {
        let differences = differences(&[
            "rename-schema public=crm",
            "rename public.people=hr.persons",
            "rename-column public.people.name=full_name",
            "leave-out public.people.ssn",
            "mask public.people.email=hash",
        ]);
        let people = TableName::new("public", "people");
        let table = |name| differences.table(&TableName::new("public", name));
        assert_eq!(table("people"), TableName::new("hr", "persons"));
        assert_eq!(table("notes"), TableName::new("crm", "notes"));
        assert_eq!(differences.column(&people, "name"), "full_name");
        let of = |column| differences.treatment(&people, column);
        assert_eq!(of("name"), Treatment::Carried);
        assert_eq!(of("ssn"), Treatment::LeftOut);
        assert_eq!(of("email"), Treatment::Masked(&Mask::Hash));
    }

    #[track_caller]
    fn refuse(lines: &[&str], expected: &str) {
        let error = differences(lines).check().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn options_at_odds_are_named() {
        let rename = "rename public.a=public.b";
        refuse(&[rename, "rename public.a=public.c"], "public.a");
        refuse(&[rename, "rename public.c=public.b"], "public.b");
        let leave_out = "leave-out public.a.x";
        refuse(&[leave_out, "mask public.a.x=null"], "public.a.x");
        let column = "rename-column public.a.x=z";
        refuse(&[column, "rename-column public.a.y=z"], "public.a.z");
        let mut without = differences(&["mask public.a.x=hash"]);
        without.mask_key = None;
        assert_eq!(without.check(), Err(DifferencesError::NoMaskKey));
    }

    /// RFC 4231, test case 2.
    #[test]
    fn hashes_are_hmac_sha_256() {
        let key = Differences {
            mask_key: Some(Secret::new("Jefe")),
            ..Differences::default()
        };
        assert_eq!(
            key.mask_key()
                .unwrap()
                .hash(b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
