//! Random values of every type that a database has, as SQL expressions.
//!
//! Which types there are is asked of the catalog, so that none is forgotten: a base type of which
//! nobody here can make a value is an error that names it. Everything else is made of those.

mod literal;

use std::collections::BTreeMap;

use anyhow::Context;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::random::Random;

/// The types of one database, those of its tables and extensions included.
pub struct Types(BTreeMap<u32, PgType>);

/// A type as the catalog has it.
pub struct PgType {
    pub oid: u32,
    /// Without a length: `"bit"`, `public.mood`.
    pub name: String,
    short_name: String,
    kind: Kind,
    has_send: bool,
    /// Its input function takes nothing at all, as that of `pg_node_tree`.
    refuses_input: bool,
    is_catalog_row: bool,
}

enum Kind {
    Base,
    Pseudo,
    Enum(Vec<String>),
    Domain(u32),
    Composite(Vec<u32>),
    Range { subtype: u32, is_discrete: bool },
    Multirange(u32),
    Array { element: u32, delimiter: String },
}

/// What becomes of a column of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Travels,
    /// Pseudo types, and what has one in it.
    NoColumn,
    /// Only Postgres itself makes values of it.
    NoValue,
    /// A part of it has no send function, so that the whole cannot be sent in binary.
    NoBinary,
}

/// How large values may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Also such as are stored out of line.
    Any,
    /// What an index takes.
    Key,
}

impl PgType {
    /// Whether it is a type of Postgres itself that is made of no others.
    pub fn is_built_in(&self) -> bool {
        self.oid < FIRST_OWN_OID && matches!(self.kind, Kind::Base)
    }

    /// Whether it is what a row of a system catalog is, or a list of such rows.
    pub fn is_catalog_row(&self) -> bool {
        self.is_catalog_row
    }
}

impl Types {
    /// Values that are made of these are for the session of `client`, which gets a function for it.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn read(client: &Client) -> anyhow::Result<Self> {
        client
            .batch_execute(ITEM)
            .await
            .context("make a function")?;
        let rows = client.query(TYPES, &[]).await.context("read pg_type")?;
        let mut types = BTreeMap::new();
        for row in rows {
            let kind = match row.get::<_, &str>("typtype") {
                _ if row.get("is_array") => Kind::Array {
                    element: row.get("typelem"),
                    delimiter: row.get("typdelim"),
                },
                "b" => Kind::Base,
                "e" => Kind::Enum(row.get("labels")),
                "d" => Kind::Domain(row.get("typbasetype")),
                "c" => Kind::Composite(row.get("fields")),
                "r" => Kind::Range {
                    subtype: row.get("rngsubtype"),
                    is_discrete: row.get("is_discrete"),
                },
                "m" => Kind::Multirange(row.get("range")),
                _ => Kind::Pseudo,
            };
            let name: String = row.get("name");
            let oid = row.get("oid");
            let of = PgType {
                oid,
                short_name: row.get("typname"),
                has_send: row.get("has_send"),
                is_catalog_row: row.get("is_catalog_row"),
                refuses_input: matches!(kind, Kind::Base) && refuses_input(client, &name).await,
                name,
                kind,
            };
            types.insert(oid, of);
        }
        Ok(Self(types))
    }

    pub fn with_fate(&self, fate: Fate) -> impl Iterator<Item = &PgType> {
        self.0.values().filter(move |of| self.fate(of) == fate)
    }

    fn fate(&self, of: &PgType) -> Fate {
        let mut parts = self.parts(of);
        if matches!(of.kind, Kind::Pseudo) || parts.any(|part| self.fate(part) == Fate::NoColumn) {
            return Fate::NoColumn;
        }
        if of.refuses_input {
            return Fate::NoValue;
        }
        let is_sent = |part: &PgType| part.has_send && self.fate(part) != Fate::NoBinary;
        // A domain is sent as what it is over, and so as text where that is.
        let is_domain = matches!(of.kind, Kind::Domain(_));
        let mut parts = self.parts(of).filter(|_| !is_domain);
        match parts.all(is_sent) {
            true => Fate::Travels,
            false => Fate::NoBinary,
        }
    }

    fn parts(&self, of: &PgType) -> impl Iterator<Item = &PgType> {
        let parts = match &of.kind {
            Kind::Base | Kind::Pseudo | Kind::Enum(_) => Vec::new(),
            Kind::Domain(part) | Kind::Multirange(part) => vec![*part],
            Kind::Range { subtype, .. } => vec![*subtype],
            Kind::Array { element, .. } => vec![*element],
            Kind::Composite(fields) => fields.clone(),
        };
        parts.into_iter().map(|part| &self.0[&part])
    }

    /// An expression for a value that is not NULL.
    ///
    /// # Errors
    /// When it is, or has in it, a base type that nobody here knows.
    pub fn value(&self, of: &PgType, random: &mut Random, size: Size) -> anyhow::Result<String> {
        if let Some(literal) = literal::of(&of.short_name, random, size) {
            return Ok(format!("'{}'::{}", literal.replace('\'', "''"), of.name));
        }
        Ok(match &of.kind {
            Kind::Base | Kind::Pseudo => {
                anyhow::bail!("no values of type {}: add them to testkit::value", of.name)
            }
            Kind::Enum(labels) => {
                let label = random.pick(labels).replace('\'', "''");
                format!("'{label}'::{}", of.name)
            }
            Kind::Domain(base) => {
                let value = self.value(&self.0[base], random, size)?;
                format!("({value})::{}", of.name)
            }
            Kind::Composite(_) => {
                let mut fields = Vec::new();
                for part in self.parts(of) {
                    fields.push(self.nullable(part, random)?);
                }
                format!("row({})::{}", fields.join(", "), of.name)
            }
            Kind::Range {
                subtype,
                is_discrete,
            } => self.range(of, &self.0[subtype], *is_discrete, random)?,
            Kind::Multirange(range) => {
                let mut ranges = Vec::new();
                for _ in 0..random.below(4) {
                    ranges.push(self.value(&self.0[range], random, size)?);
                }
                format!("{}({})", of.name, ranges.join(", "))
            }
            Kind::Array { element, delimiter } => {
                let (dimensions, count) = shape(random);
                let mut items = Vec::new();
                for _ in 0..count {
                    items.push(self.item(&self.0[element], random)?);
                }
                let bounds = dimensions.iter().map(|(from, length)| {
                    format!(
                        "[{from}:{}]",
                        from + i64::try_from(*length).expect("few") - 1
                    )
                });
                let bounds = match dimensions.is_empty() {
                    true => String::new(),
                    false => bounds.collect::<String>() + "=",
                };
                let lengths: Vec<usize> = dimensions.iter().map(|(_, length)| *length).collect();
                let braces = nested(&lengths, &mut items.into_iter(), delimiter);
                format!("('{bounds}' || {braces})::{}", of.name)
            }
        })
    }

    fn nullable(&self, of: &PgType, random: &mut Random) -> anyhow::Result<String> {
        match of.refuses_input || random.one_in(4) {
            true => Ok("null".to_owned()),
            false => self.value(of, random, Size::Key),
        }
    }

    /// An expression for the text of an array's element.
    fn item(&self, of: &PgType, random: &mut Random) -> anyhow::Result<String> {
        Ok(match self.nullable(of, random)? {
            null if null == "null" => "'NULL'".to_owned(),
            value => format!("pg_temp.item(format('%s', {value}))"),
        })
    }

    /// Of what a discrete range is over, the ends have no neighbour: those are small.
    fn range(
        &self,
        of: &PgType,
        subtype: &PgType,
        is_discrete: bool,
        random: &mut Random,
    ) -> anyhow::Result<String> {
        if random.one_in(6) {
            return Ok(format!("'empty'::{}", of.name));
        }
        let mut bound = || match is_discrete {
            true => Ok(format!(
                "'{}'::{}",
                literal::small(&subtype.short_name, random),
                subtype.name
            )),
            false => self.value(subtype, random, Size::Key),
        };
        let (a, b) = (bound()?, bound()?);
        let lower = *random.pick(&["least(a, b)", "least(a, b)", "null"]);
        let upper = *random.pick(&["greatest(a, b)", "greatest(a, b)", "null"]);
        let kind = *random.pick(&["[]", "[)", "(]", "()"]);
        let name = &of.name;
        Ok(format!(
            "(select {name}({lower}, {upper}, '{kind}') from (select {a} as a, {b} as b) bounds)"
        ))
    }
}

/// Lower bound and length of each dimension, and how many elements that makes. Without dimensions:
/// one, whose lower bound is 1.
fn shape(random: &mut Random) -> (Vec<(i64, usize)>, usize) {
    let mut length = || usize::try_from(random.below(3)).expect("few") + 1;
    let (a, b) = (length(), length());
    let lower = i64::try_from(random.below(7)).expect("few") - 3;
    match random.below(6) {
        0 => (Vec::new(), 0),
        1 | 2 => (Vec::new(), a),
        3 => (vec![(lower, a)], a),
        4 => (vec![(1, a), (1, b)], a * b),
        _ => (vec![(lower, a), (-lower, b), (1, 1)], a * b),
    }
}

/// An expression for the braces around the items.
fn nested(lengths: &[usize], items: &mut impl Iterator<Item = String>, delimiter: &str) -> String {
    let inner: Vec<String> = match lengths {
        [] | [_] => items
            .take(lengths.first().copied().unwrap_or(usize::MAX))
            .collect(),
        [length, rest @ ..] => {
            let mut all = Vec::new();
            for _ in 0..*length {
                all.push(nested(rest, items, delimiter));
            }
            all
        }
    };
    match inner.is_empty() {
        true => "'{}'".to_owned(),
        false => format!(
            "'{{' || {} || '}}'",
            inner.join(&format!(" || '{delimiter}' || "))
        ),
    }
}

/// `FirstNormalObjectId` (`transam.h`).
const FIRST_OWN_OID: u32 = 16_384;

/// How an element stands in an array's text.
const ITEM: &str = r#"
create function pg_temp.item(value text) returns text immutable language sql as
$$ select '"' || replace(replace(value, '\', '\\'), '"', '\"') || '"' $$"#;

const TYPES: &str = "
select t.oid, format_type(t.oid, -1) as name, t.typname::text, t.typtype::text,
       t.typbasetype, t.typelem, t.typdelim::text, t.typsend <> 0 as has_send,
       t.typinput = 'pg_catalog.array_in'::regproc as is_array,
       r.rngsubtype, r.rngcanonical <> 0 as is_discrete, m.rngtypid as range,
       array(select a.atttypid from pg_attribute a
              where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
              order by a.attnum) as fields,
       t.oid < 16384 and 'c' in (t.typtype, coalesce(e.typtype, 'b')) as is_catalog_row,
       array(select e.enumlabel::text from pg_enum e where e.enumtypid = t.oid) as labels
  from pg_type t
  left join pg_range r on r.rngtypid = t.oid
  left join pg_type e on e.oid = t.typelem
  left join pg_range m on m.rngmultitypid = t.oid
 where t.typisdefined";

async fn refuses_input(client: &Client, name: &str) -> bool {
    let tried = client.simple_query(&format!("select ''::{name}")).await;
    // The second is how some extensions say it.
    let refusals = [SqlState::FEATURE_NOT_SUPPORTED, SqlState::INTERNAL_ERROR];
    tried.is_err_and(|error| error.code().is_some_and(|code| refusals.contains(code)))
}
