//! What a comparison says.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use change::{Lsn, TableName};
use serde::{Serialize, Serializer};

use super::digest::Digest;
use super::sequences::BehindSequence;

/// What was found at one LSN, and what was done about it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// At the end: of repaired tables, after the repair.
    pub equal: bool,
    #[serde(serialize_with = "as_text")]
    pub lsn: Lsn,
    /// How long apply was held for it.
    #[serde(rename = "held_ms", serialize_with = "as_millis")]
    pub held: Duration,
    pub tables: Vec<Comparison>,
    /// Sequences of the target that would repeat what the source has handed out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sequences_behind: Vec<BehindSequence>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<Repair>,
}

/// What a repair came to.
#[derive(Clone, Debug, Serialize)]
pub struct Repair {
    /// Rows that were written or deleted.
    pub rows: u64,
    /// What the target refused, or what cannot be repaired.
    pub refused: Vec<String>,
    /// Where the repaired tables were compared again.
    #[serde(serialize_with = "as_text")]
    pub lsn: Lsn,
    pub tables: Vec<Comparison>,
}

/// One table on both sides.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub table: String,
    pub equal: bool,
    /// Where it was compared, when not with the others.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "as_text_if_any"
    )]
    pub lsn: Option<Lsn>,
    /// Why it was not compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_compared: Option<String>,
    /// Columns that the target does not get, or gets masked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns_not_compared: Vec<String>,
    pub source: Option<Side>,
    pub target: Option<Side>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differences: Option<Differences>,
}

/// What a side holds of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    NoTable,
    NoColumn(String),
    Rows(Digest),
}

/// The rows that differ: how many, and some of them by name.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Differences {
    /// On the source only.
    pub missing: u64,
    /// On the target only.
    pub extra: u64,
    /// On both, but not the same.
    pub different: u64,
    /// Without a key, rows are counted and not named.
    pub rows: Vec<RowDifference>,
}

#[derive(Clone, Debug, Serialize)]
pub struct RowDifference {
    pub kind: Kind,
    pub key: BTreeMap<String, String>,
    /// Those that differ, of a row that is on both sides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The source has it, and the target has not.
    Missing,
    /// The target has it, and the source has not.
    Extra,
    Different,
}

impl Comparison {
    pub(super) fn new(table: &TableName, source: Side, target: Side) -> Self {
        Self {
            table: table.to_string(),
            equal: matches!((&source, &target), (Side::Rows(a), Side::Rows(b)) if a == b),
            lsn: None,
            not_compared: None,
            columns_not_compared: Vec::new(),
            source: Some(source),
            target: Some(target),
            differences: None,
        }
    }

    pub(super) fn none(table: &TableName, why: String) -> Self {
        Self {
            table: table.to_string(),
            equal: false,
            lsn: None,
            not_compared: Some(why),
            columns_not_compared: Vec::new(),
            source: None,
            target: None,
            differences: None,
        }
    }

    /// Rows on the source.
    pub fn rows(&self) -> i64 {
        match &self.source {
            Some(Side::Rows(digest)) => digest.rows,
            Some(Side::NoTable | Side::NoColumn(_)) | None => 0,
        }
    }
}

impl Report {
    pub(super) fn new(lsn: Lsn, held: Duration, tables: Vec<Comparison>) -> Self {
        Self {
            equal: tables.iter().all(|table| table.equal),
            lsn,
            held,
            tables,
            sequences_behind: Vec::new(),
            repair: None,
        }
    }

    /// Says of each table which columns were not compared.
    pub(super) fn leave_out(&mut self, columns: &HashMap<String, Vec<String>>) {
        let repaired = self.repair.iter_mut().flat_map(|it| &mut it.tables);
        for comparison in self.tables.iter_mut().chain(repaired) {
            if let Some(columns) = columns.get(&comparison.table) {
                comparison.columns_not_compared.clone_from(columns);
            }
        }
    }

    pub(super) fn compare_sequences(&mut self, behind: Vec<BehindSequence>) {
        self.equal &= behind.is_empty();
        self.sequences_behind = behind;
    }

    /// What differed was repaired and compared again.
    pub(super) fn conclude(&mut self, repair: Repair) {
        self.equal = repair.tables.iter().all(|table| table.equal);
        self.repair = Some(repair);
    }

    /// Rows on the source.
    pub fn rows(&self) -> i64 {
        self.tables.iter().map(Comparison::rows).sum()
    }

    pub fn rows_different(&self) -> u64 {
        let differences = self.tables.iter().filter_map(|it| it.differences.as_ref());
        differences.map(Differences::total).sum()
    }

    pub fn rows_repaired(&self) -> u64 {
        self.repair.as_ref().map_or(0, |repair| repair.rows)
    }
}

impl Differences {
    pub fn total(&self) -> u64 {
        self.missing + self.extra + self.different
    }

    pub(super) fn count(&mut self, kind: Kind, rows: u64) {
        match kind {
            Kind::Missing => self.missing += rows,
            Kind::Extra => self.extra += rows,
            Kind::Different => self.different += rows,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for table in &self.tables {
            writeln!(f, "{table}")?;
        }
        let (mut lsn, held) = (self.lsn, self.held.as_millis());
        if let Some(repair) = &self.repair {
            writeln!(f, "different at {lsn}")?;
            writeln!(f, "repaired {} rows; compared again:", repair.rows)?;
            for refused in &repair.refused {
                writeln!(f, "NOT REPAIRED: {refused}")?;
            }
            for table in &repair.tables {
                writeln!(f, "{table}")?;
            }
            lsn = repair.lsn;
        }
        for sequence in &self.sequences_behind {
            writeln!(f, "{sequence}")?;
        }
        let compared = |table: &Comparison| table.equal || table.not_compared.is_some();
        match self.equal {
            true => write!(f, "equal at {lsn} (apply was held for {held} ms)"),
            false if self.tables.iter().all(compared) && self.sequences_behind.is_empty() => {
                write!(
                    f,
                    "not all was compared at {lsn} (apply was held for {held} ms)"
                )
            }
            false => write!(f, "different at {lsn} (apply was held for {held} ms)"),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = &self.table;
        if let Some(why) = &self.not_compared {
            return write!(f, "{table}: NOT COMPARED, {why}");
        }
        if self.equal {
            write!(f, "{table}: equal, {} rows", self.rows())?;
            return match &self.columns_not_compared[..] {
                [] => Ok(()),
                columns => write!(f, " (without {})", columns.join(", ")),
            };
        }
        match (&self.source, &self.target) {
            (Some(Side::Rows(a)), Some(Side::Rows(b))) if a.rows == b.rows => {
                let rows = a.rows;
                write!(
                    f,
                    "{table}: DIFFERENT, {rows} rows on both sides, but not the same ones"
                )?;
            }
            (Some(source), Some(target)) => {
                write!(f, "{table}: DIFFERENT, source {source}, target {target}")?;
            }
            (None, _) | (_, None) => write!(f, "{table}: DIFFERENT")?,
        }
        match &self.differences {
            Some(differences) => write!(f, "; {differences}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTable => f.write_str("has no such table"),
            Self::NoColumn(column) => write!(f, "has no column {column}"),
            Self::Rows(digest) => write!(f, "{} rows", digest.rows),
        }
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            missing,
            extra,
            different,
            rows,
        } = self;
        write!(f, "{missing} missing, {extra} extra, {different} different")?;
        for row in rows {
            write!(f, "\n  {row}")?;
        }
        let shown = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        match self.total() - shown.min(self.total()) {
            0 => Ok(()),
            _ if rows.is_empty() => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

impl fmt::Display for RowDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self
            .key
            .iter()
            .map(|(name, value)| format!("{name} = {value}"));
        let key = key.collect::<Vec<_>>().join(", ");
        match self.kind {
            Kind::Missing => write!(f, "missing: {key}"),
            Kind::Extra => write!(f, "extra: {key}"),
            Kind::Different => write!(f, "different: {key}: {}", self.columns.join(", ")),
        }
    }
}

fn as_text<S: Serializer>(lsn: &Lsn, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(lsn)
}

fn as_text_if_any<S: Serializer>(lsn: &Option<Lsn>, serializer: S) -> Result<S::Ok, S::Error> {
    match lsn {
        Some(lsn) => as_text(lsn, serializer),
        None => serializer.serialize_none(),
    }
}

fn as_millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(target: Side, differences: Option<Differences>, expected: &str) {
        let source = rows(3, 2);
        let table = TableName::new("public", "a");
        let mut comparison = Comparison::new(&table, source, target);
        comparison.differences = differences;
        assert_eq!(comparison.to_string(), expected);
        assert_eq!(comparison.equal, expected.contains("equal"));
    }

    fn rows(rows: i64, hash: i128) -> Side {
        Side::Rows(Digest::new(rows, (1, hash)))
    }

    #[test]
    fn what_differs_is_named() {
        check(rows(3, 2), None, "public.a: equal, 3 rows");
        check(
            rows(3, 3),
            None,
            "public.a: DIFFERENT, 3 rows on both sides, but not the same ones",
        );
        check(
            rows(2, 2),
            None,
            "public.a: DIFFERENT, source 3 rows, target 2 rows",
        );
        check(
            Side::NoTable,
            None,
            "public.a: DIFFERENT, source 3 rows, target has no such table",
        );
    }

    #[test]
    fn rows_that_differ_are_named_as_far_as_they_are_known() {
        let row = RowDifference {
            kind: Kind::Different,
            key: BTreeMap::from([("id".to_owned(), "7".to_owned())]),
            columns: vec!["title".to_owned(), "body".to_owned()],
        };
        let differences = Differences {
            different: 2,
            rows: vec![row],
            ..Differences::default()
        };
        check(
            rows(3, 3),
            Some(differences),
            "public.a: DIFFERENT, 3 rows on both sides, but not the same ones; 0 missing, 0 extra, \
             2 different\n  different: id = 7: title, body\n  and 1 more",
        );
    }

    #[test]
    fn what_was_not_compared_is_not_equal() {
        let table = TableName::new("public", "a");
        let held = Comparison::none(&table, "held by ann".to_owned());
        assert_eq!(held.to_string(), "public.a: NOT COMPARED, held by ann");
        let report = Report::new(Lsn::new(255), Duration::from_millis(7), vec![held]);
        assert!(!report.equal);
        let text = report.to_string();
        let last = "not all was compared at 0/FF (apply was held for 7 ms)";
        assert_eq!(text.lines().last(), Some(last));
    }
}
