//! A change of a table, with the names that its parts have on the target.
//!
//! Names are fields of a definition, or stand in a text of SQL that Postgres has written: a constraint's, an
//! index's. Of a text, only lists of columns are translated: in an expression, a word may be anything.

use std::fmt;

use change::schema_change::{Column, Constraint, Definition, Index, Notice, Parent, Table};
use change::{TableName, quoted};

use super::{Differences, Mask, Treatment};

/// Why a change cannot be made on the target by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Untranslatable {
    /// The options name the table as it was, or as it is.
    Table,
    Column(String),
    /// An expression names a column that has another name on the target, or none.
    Expression(String),
    /// Rows that are there would need a hash.
    Hash(String),
}

impl fmt::Display for Untranslatable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table => f.write_str("the table was renamed, and options of the applier name it"),
            Self::Column(column) => {
                write!(
                    f,
                    "column {column} was renamed, and options of the applier name it"
                )
            }
            Self::Expression(of) => {
                write!(
                    f,
                    "{of} is an expression over columns that differ on the target"
                )
            }
            Self::Hash(column) => write!(
                f,
                "column {column} is hashed, and rows got a value that the change tells in the clear"
            ),
        }
    }
}

/// The change as it is to be made on the target.
///
/// # Errors
/// When that is not known.
pub(crate) fn translated(
    notice: &Notice,
    differences: &Differences,
) -> Result<Notice, Untranslatable> {
    let Some((before, after)) = notice.table().filter(|_| !differences.is_empty()) else {
        return Ok(notice.clone());
    };
    if let (Some(before), Some(after)) = (before, after) {
        refuse_renames(&notice.tag, before, after, differences)?;
    }
    let translate = |table: Option<&Table>, known: Option<&Table>| {
        let table = table.map(|table| {
            Translation {
                table,
                known,
                differences,
            }
            .table()
        });
        let table = table.transpose()?;
        Ok(table.map(|table| Definition::Table(Box::new(table))))
    };
    Ok(Notice {
        before: translate(before, before)?,
        after: translate(after, before)?,
        ..notice.clone()
    })
}

/// Options are of the names that a table and its columns have on the source.
fn refuse_renames(
    tag: &str,
    before: &Table,
    after: &Table,
    differences: &Differences,
) -> Result<(), Untranslatable> {
    let (old, new) = (before.table_name(), after.table_name());
    let is_named = |table: &TableName| differences.is_named(table);
    let differs = |table: &TableName| differences.table(table) != *table;
    // On the target, the schema that is renamed does not hold the table.
    let leaves_schema = tag == "ALTER SCHEMA" && (differs(&old) || differs(&new));
    if old != new && (is_named(&old) || is_named(&new) || leaves_schema) {
        return Err(Untranslatable::Table);
    }
    for column in &after.columns {
        let was = before.columns.iter().find(|it| it.number == column.number);
        let named = |was: &&Column| {
            differences.names_column(&old, &was.name)
                || differences.names_column(&new, &column.name)
        };
        if was
            .filter(|was| was.name != column.name)
            .is_some_and(|was| named(&was))
        {
            return Err(Untranslatable::Column(column.name.clone()));
        }
    }
    Ok(())
}

/// The translation of one definition.
struct Translation<'a> {
    table: &'a Table,
    /// As it was before: what stays as it was needs no translation.
    known: Option<&'a Table>,
    differences: &'a Differences,
}

impl Translation<'_> {
    fn table(&self) -> Result<Table, Untranslatable> {
        let name = self.table.table_name();
        let target = self.differences.table(&name);
        let mut table = self.table.clone();
        if let Some(parent) = &mut table.partition_of {
            let target = TableName::new(&parent.schema, &parent.name);
            let TableName { schema, name } = self.differences.table(&target);
            *parent = Parent { schema, name };
        }
        if let Some(key) = &self.table.partition_key {
            let listed = match self.list(&name, key) {
                Listed::Gone => Listed::Expression,
                listed => listed,
            };
            let of = || "the partition key".to_owned();
            table.partition_key = listed.or_known(key, self.known.is_some(), of)?;
        }
        let columns = self.table.columns.iter();
        let columns = columns.filter_map(|it| self.column(&name, it).transpose());
        table.columns = columns.collect::<Result<_, _>>()?;
        table.sequences.retain_mut(|it| {
            let carried = self.differences.treatment(&name, &it.column) == Treatment::Carried;
            it.column = self.differences.column(&name, &it.column).to_owned();
            carried
        });
        let constraints = self.table.constraints.iter();
        let constraints = constraints.filter_map(|it| self.constraint(&name, it).transpose());
        table.constraints = constraints.collect::<Result<_, _>>()?;
        let indexes = self.table.indexes.iter();
        let indexes = indexes.filter_map(|it| self.index(&name, &target, it).transpose());
        table.indexes = indexes.collect::<Result<_, _>>()?;
        TableName {
            schema: table.schema,
            name: table.name,
        } = target;
        Ok(table)
    }

    /// `None` where the target does not get it.
    fn column(&self, table: &TableName, column: &Column) -> Result<Option<Column>, Untranslatable> {
        let known = self.known.map_or(&[][..], |known| &known.columns);
        let is_new = !known.iter().any(|it| it.number == column.number);
        let mut own = column.clone();
        own.name = self.differences.column(table, &column.name).to_owned();
        let mask = match self.differences.treatment(table, &column.name) {
            Treatment::LeftOut => return Ok(None),
            Treatment::Carried => {
                let expression = column.generated.as_ref().and(column.default.as_ref());
                let is_new = is_new || !known.contains(column);
                if let Some(text) = expression.filter(|_| is_new)
                    && self.differs(table, text)
                {
                    let of = format!("what column {} is generated from", column.name);
                    return Err(Untranslatable::Expression(of));
                }
                return Ok(Some(own));
            }
            Treatment::Masked(mask) => mask,
        };
        (own.default, own.generated, own.identity) = (None, None, None);
        match mask {
            Mask::Null => (own.not_null, own.missing) = (false, None),
            // Whatever the source's older rows have.
            Mask::Constant(text) => own.missing = Some(text.clone()),
            Mask::Hash if is_new && own.missing.is_some() => {
                return Err(Untranslatable::Hash(column.name.clone()));
            }
            Mask::Hash => {
                own.type_name = "text".to_owned();
                (own.collation, own.missing) = (None, None);
            }
        }
        Ok(Some(own))
    }

    fn constraint(
        &self,
        table: &TableName,
        constraint: &Constraint,
    ) -> Result<Option<Constraint>, Untranslatable> {
        let definition = &constraint.definition;
        let listed = match constraint.kind.as_str() {
            "p" | "u" => self.list(table, definition),
            "f" => self.reference(table, definition),
            _ => match (
                self.lacks(table, definition),
                self.differs(table, definition),
            ) {
                (true, _) => Listed::Gone,
                (false, true) => Listed::Expression,
                (false, false) => Listed::Text(definition.clone()),
            },
        };
        let known = self.known.map_or(&[][..], |known| &known.constraints);
        let name = &constraint.name;
        let text = listed.or_known(definition, known.contains(constraint), || {
            format!("constraint {name}")
        })?;
        Ok(text.map(|definition| Constraint {
            definition,
            ..constraint.clone()
        }))
    }

    /// `CREATE INDEX i ON public.t USING btree (a, b)`
    fn index(
        &self,
        table: &TableName,
        target: &TableName,
        index: &Index,
    ) -> Result<Option<Index>, Untranslatable> {
        let name = &index.name;
        let definition = &index.definition;
        let parts = definition
            .split_once(" ON ")
            .zip(definition.split_once(" USING "));
        let Some(((start, _), (_, rest))) = parts else {
            return Err(Untranslatable::Expression(format!("index {name}")));
        };
        let known = self.known.map_or(&[][..], |known| &known.indexes);
        let rest = self
            .list(table, rest)
            .or_known(rest, known.contains(index), || format!("index {name}"))?;
        Ok(rest.map(|rest| Index {
            definition: format!("{start} ON {} USING {rest}", target.quoted()),
            ..index.clone()
        }))
    }

    /// A text in which all names between parentheses are the table's columns.
    fn list(&self, table: &TableName, text: &str) -> Listed {
        if self.lacks(table, text) {
            return Listed::Gone;
        }
        let words = words(text);
        let is_flat = words.iter().all(|it| it.depth < 2);
        let has_condition = words.iter().any(|it| it.name.as_deref() == Some("WHERE"));
        if self.differs(table, text) && (!is_flat || has_condition) {
            return Listed::Expression;
        }
        Listed::Text(words.iter().map(|it| self.word(table, it)).collect())
    }

    /// `FOREIGN KEY (a) REFERENCES public.t(b) ON DELETE …`
    fn reference(&self, table: &TableName, text: &str) -> Listed {
        let Some((own, (other, rest))) = text
            .split_once(" REFERENCES ")
            .and_then(|(own, rest)| Some((own, rest.split_once('(')?)))
        else {
            return Listed::Expression;
        };
        let Some((columns, actions)) = rest.split_once(')') else {
            return Listed::Expression;
        };
        let names: Vec<String> = words(other).into_iter().filter_map(|it| it.name).collect();
        let [schema, name] = &names[..] else {
            return Listed::Expression;
        };
        let other = TableName::new(schema, name);
        if self.lacks(table, own) || self.lacks(table, actions) || self.lacks(&other, columns) {
            return Listed::Gone;
        }
        let translate = |table: &TableName, text: &str| -> String {
            words(text)
                .iter()
                .map(|it| self.column_word(table, it))
                .collect()
        };
        Listed::Text(format!(
            "{} REFERENCES {}({}){}",
            translate(table, own),
            self.differences.table(&other).quoted(),
            translate(&other, columns),
            translate(table, actions)
        ))
    }

    fn word(&self, table: &TableName, word: &Word<'_>) -> String {
        match word.depth {
            0 => word.text.to_owned(),
            _ => self.column_word(table, word),
        }
    }

    fn column_word(&self, table: &TableName, word: &Word<'_>) -> String {
        let name = word.name.as_deref();
        match name.map(|name| (name, self.differences.column(table, name))) {
            Some((name, column)) if name != column => quoted(column),
            Some(_) | None => word.text.to_owned(),
        }
    }

    /// Whether a text names a column that the target lacks, or has other values in.
    fn lacks(&self, table: &TableName, text: &str) -> bool {
        let treatment = |name: &String| self.differences.treatment(table, name);
        let mut names = words(text).into_iter().filter_map(|it| it.name);
        names.any(|name| treatment(&name) != Treatment::Carried)
    }

    /// Whether a text names a column that is something else on the target.
    fn differs(&self, table: &TableName, text: &str) -> bool {
        let mut names = words(text).into_iter().filter_map(|it| it.name);
        names.any(|name| self.differences.names_column(table, &name))
    }
}

/// What becomes of a text.
enum Listed {
    Text(String),
    /// A column of it is not on the target, or not with its values.
    Gone,
    Expression,
}

impl Listed {
    /// A text that stays as it was may be anything; `None` where the target does not get it.
    fn or_known(
        self,
        text: &str,
        is_known: bool,
        of: impl FnOnce() -> String,
    ) -> Result<Option<String>, Untranslatable> {
        match self {
            Self::Text(text) => Ok(Some(text)),
            Self::Gone => Ok(None),
            Self::Expression if is_known => Ok(Some(text.to_owned())),
            Self::Expression => Err(Untranslatable::Expression(of())),
        }
    }
}

/// A part of a text of SQL: a word, which may be a name, or what stands between words.
struct Word<'a> {
    text: &'a str,
    name: Option<String>,
    /// In so many parentheses.
    depth: usize,
}

/// Splits a text as Postgres writes it. Keywords are in upper case, and names that could be one, or have
/// upper case, in quotes.
fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let (mut rest, mut depth) = (text, 0_usize);
    while let Some(first) = rest.chars().next() {
        let is_word = |it: char| it.is_alphanumeric() || it == '_' || it == '$';
        let length = match first {
            '"' | '\'' => quote_length(rest, first),
            _ if is_word(first) => rest.find(|it| !is_word(it)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (text, after) = rest.split_at(length);
        let name = match first {
            '"' => change::identifier(text).map(|(name, _)| name),
            _ => is_word(first).then(|| text.to_owned()),
        };
        match first {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        words.push(Word { text, name, depth });
        rest = after;
    }
    words
}

/// The length of what is in quotes at the start of `text`; a doubled one stands for itself.
fn quote_length(text: &str, quote: char) -> usize {
    let mut quotes = text
        .match_indices(quote)
        .map(|(at, _)| at)
        .skip(1)
        .peekable();
    while let Some(at) = quotes.next() {
        match quotes.peek() {
            Some(next) if *next == at + 1 => {
                quotes.next();
            }
            Some(_) | None => return at + 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests;
