//! The statement that makes room for a row where a constraint of the target does not allow it beside
//! others.

use change::TableName;

use super::{Shape, list};

/// A unique or exclusion constraint of the target, or a unique index, that refused a row.
#[derive(Clone, Debug)]
pub(crate) struct Obstacle {
    /// The table that has it: that of the changes, or a partition of it, with rows of its own.
    pub(crate) table: TableName,
    /// All columns of that table.
    pub(crate) columns: Vec<ObstacleColumn>,
    pub(crate) elements: Vec<Element>,
    /// It is about the rows that this is true of.
    pub(crate) predicate: Option<String>,
    /// Whether two nulls are equal to it.
    pub(crate) nulls_equal: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct ObstacleColumn {
    pub(crate) name: String,
    pub(crate) type_name: String,
    pub(crate) filling: Filling,
}

/// What a column has that nobody gives a value.
#[derive(Clone, Debug)]
pub(crate) enum Filling {
    Null,
    Default(String),
    /// Always this, of the row's other columns.
    Generated(String),
}

/// Two rows are in conflict when the operator is true of all their elements.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    /// A column, or an expression over columns, as Postgres writes it.
    pub(crate) expression: String,
    pub(crate) operator: String,
    pub(crate) collation: Option<String>,
}

impl Shape {
    /// Deletes the rows that are in conflict with a wanted one, but for the row that it replaces. The
    /// parameters are the wanted row's marked columns, then the key that the row has before.
    pub(crate) fn make_room(&self, obstacle: &Obstacle, marked: &[bool]) -> String {
        let table = &obstacle.table;
        let alias = change::quoted(&table.name);
        let elements = || (1..).zip(&obstacle.elements);
        let wanted =
            list(elements().map(|(n, it)| format!("({}) as \"wanted {n}\"", it.expression)));
        let predicate = obstacle.predicate.as_ref();
        let of_wanted = predicate.map(|it| format!(" where ({it})"));
        let mut terms: Vec<String> = elements()
            .map(|(n, it)| it.conflicts(n, obstacle.nulls_equal))
            .collect();
        terms.extend(predicate.map(|it| format!("({it})")));
        if self.has_key {
            let first = marked.iter().filter(|marked| **marked).count() + 1;
            terms.push(format!("not ({})", self.key_is(&alias, first)));
        }
        format!(
            "delete from only {table} using (select {wanted} from {row} as {alias}{of_wanted}) \
             as \"the wanted row\" where {terms}",
            table = table.quoted(),
            row = self.wanted_row(obstacle, marked),
            of_wanted = of_wanted.unwrap_or_default(),
            terms = terms.join(" and ")
        )
    }

    /// The row as it will be: what the change does not bring stays, or is filled in by the target.
    fn wanted_row(&self, obstacle: &Obstacle, marked: &[bool]) -> String {
        let mut given = Vec::with_capacity(obstacle.columns.len());
        let mut generated = Vec::new();
        for column in &obstacle.columns {
            let name = change::quoted(&column.name);
            match (&column.filling, self.parameter(&column.name, marked)) {
                (Filling::Generated(expression), _) => {
                    generated.push(format!(", ({expression}) as {name}"));
                }
                (_, Some(parameter)) => given.push(format!("{parameter} as {name}")),
                (filling, None) => {
                    let filled = match filling {
                        Filling::Default(expression) => expression,
                        Filling::Null | Filling::Generated(_) => "null",
                    };
                    let filled = format!("({filled})::{}", column.type_name);
                    given.push(match self.has_key {
                        true => {
                            format!(
                                "case when o.ctid is null then {filled} else o.{name} end as {name}"
                            )
                        }
                        false => format!("{filled} as {name}"),
                    });
                }
            }
        }
        let first = marked.iter().filter(|marked| **marked).count() + 1;
        let present = match self.has_key {
            true => format!(
                " left join {} as o on {}",
                self.rows(),
                self.key_is("o", first)
            ),
            false => String::new(),
        };
        format!(
            "(select given.*{} from (select {} from (select) as one{present}) as given)",
            generated.concat(),
            list(given.into_iter())
        )
    }

    /// The parameter of a column, where the change brings a value.
    fn parameter(&self, name: &str, marked: &[bool]) -> Option<String> {
        let brought = self.columns.iter().zip(marked);
        let brought = brought.filter(|(_, marked)| **marked).map(|(it, _)| it);
        let mut numbered = (1..).zip(brought);
        let (n, column) = numbered.find(|(_, column)| column.name == name)?;
        Some(column.bind(n))
    }
}

impl Element {
    fn conflicts(&self, n: usize, nulls_equal: bool) -> String {
        let Self {
            expression,
            operator,
            collation,
        } = self;
        let collate = collation.as_ref().map(|it| format!(" collate {it}"));
        let wanted = format!("\"the wanted row\".\"wanted {n}\"");
        let equal = format!(
            "({expression}) {operator} {wanted}{}",
            collate.unwrap_or_default()
        );
        match nulls_equal {
            true => format!("({equal} or ({expression}) is null and {wanted} is null)"),
            false => equal,
        }
    }
}
