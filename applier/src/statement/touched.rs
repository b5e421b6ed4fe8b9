//! Statements that note which keys of a table were written, and that bring a row from the live table
//! before only some of its values are.

use change::TableName;

use super::{Shape, ShapeColumn, list};

/// Where the written keys of a table are noted, and where its rows live.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Touched {
    pub(crate) live: TableName,
    /// What live rows and those of the table have in common.
    pub(crate) columns: Vec<String>,
    pub(crate) keys: TableName,
}

/// What is said of a key that is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Noting {
    /// Its row is wanted.
    Selected,
    /// It was written after what is wanted.
    Late,
}

impl Noting {
    pub(crate) fn column(self) -> &'static str {
        match self {
            Self::Selected => "selected",
            Self::Late => "late",
        }
    }
}

impl Shape {
    pub(super) fn note(&self, touched: &Touched, noting: Noting) -> String {
        let columns = self.columns.iter().enumerate();
        let staged = columns.filter(|(_, column)| column.equality.is_some());
        let staged = list(staged.map(|(at, column)| column.staged(at)));
        let key = list(self.key().map(ShapeColumn::quoted));
        let mark = noting.column();
        format!(
            "insert into {keys} as k ({key}, {mark}) select {staged}, true from {stage} as s \
             on conflict ({key}) do update set {mark} = true where not k.{mark}",
            keys = touched.keys.quoted(),
            stage = self.stage_name()
        )
    }

    pub(super) fn seed(&self, touched: &Touched) -> String {
        let noted = self.key().map(|it| {
            let name = it.quoted();
            it.equal(&format!("k.{name}"), &format!("l.{name}"))
        });
        format!(
            "{insert} join {stage} as s on {same} \
             where not exists (select from {keys} as k where {noted}) on conflict do nothing",
            insert = self.insert_live(touched),
            stage = self.stage_name(),
            same = self.key_is_staged("l"),
            keys = touched.keys.quoted(),
            noted = noted.collect::<Vec<_>>().join(" and ")
        )
    }

    pub(super) fn seed_moved(&self, touched: &Touched) -> String {
        format!(
            "{insert} where {new} and not exists (select from {keys} as k where {old}) \
             on conflict do nothing",
            insert = self.insert_live(touched),
            new = self.key_is("l", self.key().count() + 1),
            keys = touched.keys.quoted(),
            old = self.key_is("k", 1)
        )
    }

    fn insert_live(&self, touched: &Touched) -> String {
        let names = touched.columns.iter().map(|name| change::quoted(name));
        let live = touched
            .columns
            .iter()
            .map(|name| format!("l.{}", change::quoted(name)));
        format!(
            "insert into {} ({}) select {} from {} as l",
            self.table.quoted(),
            list(names),
            list(live),
            touched.live.quoted()
        )
    }
}
