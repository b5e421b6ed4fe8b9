//! A change of what holds the rows: a table, a type or a schema, before and after.
//!
//! A trigger on the source writes a [`Notice`] into the log for each (`sql/source/schema_changes.sql`),
//! capture puts it into the topic of schema changes as a [`SchemaChange`], with its position among the
//! changes of rows.

use serde::{Deserialize, Serialize};

use crate::avro::{DatumError, Reader, write_bool, write_long, write_str};
use crate::{Lsn, Position, TableName};

/// The prefix of the messages by which the source tells of them.
pub const MESSAGE_PREFIX: &str = "lockstep.ddl";

/// The Avro schema of [`SchemaChange`]. What every record says first stands first here, too.
pub const SCHEMA: &str = r#"{"type":"record","name":"SchemaChange","namespace":"lockstep","fields":[{"name":"epoch","type":"long"},{"name":"commit_lsn","type":"long"},{"name":"ordinal","type":"long"},{"name":"commit_time","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"xid","type":"long"},{"name":"tag","type":"string"},{"name":"oid","type":"long"},{"name":"statement","type":"string"},{"name":"rewritten","type":"boolean"},{"name":"refused","type":["null","string"],"default":null},{"name":"before","type":["null","string"],"default":null},{"name":"after","type":["null","string"],"default":null}]}"#;

/// The Avro schema of its key: the object's name.
pub const KEY_SCHEMA: &str = r#""string""#;

/// A record of the topic.
#[derive(Clone, Debug, PartialEq)]
pub struct SchemaChange {
    pub epoch: i64,
    pub position: Position,
    /// Microseconds since 1970-01-01 UTC, by the source's clock.
    pub commit_time: i64,
    pub xid: u32,
    pub notice: Notice,
}

/// What the source tells of one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// As Postgres calls the statement: `ALTER TABLE`.
    pub tag: String,
    /// The object's OID on the source; 0 where it is not told.
    #[serde(default)]
    pub oid: u32,
    /// What the client sent, for people to read: it is never executed. It may hold other statements,
    /// too.
    #[serde(default)]
    pub statement: String,
    /// Whether the rows got values that the definitions do not tell.
    #[serde(default)]
    pub rewritten: bool,
    /// Why rows of the table do not come any more, where capture cannot write them.
    #[serde(default)]
    pub refused: Option<String>,
    /// None for what was created.
    #[serde(default)]
    pub before: Option<Definition>,
    /// None for what was dropped.
    #[serde(default)]
    pub after: Option<Definition>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "object", rename_all = "lowercase")]
pub enum Definition {
    Table(Box<Table>),
    Enum(Enum),
    Domain(Domain),
    Composite(Composite),
    Schema(Schema),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Enum {
    pub schema: String,
    pub name: String,
    pub labels: Vec<String>,
}

/// Its type, default and constraints are SQL, as those of tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Domain {
    pub schema: String,
    pub name: String,
    /// What it is over.
    #[serde(rename = "type")]
    pub type_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    pub not_null: bool,
    pub constraints: Vec<Constraint>,
}

/// A type of `create type … as (…)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Composite {
    pub schema: String,
    pub name: String,
    pub attributes: Vec<Attribute>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// `pg_attribute.attnum`, which an attribute keeps for its life.
    pub number: i16,
    pub name: String,
    #[serde(rename = "type")]
    pub type_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation: Option<String>,
}

/// Types, defaults, constraints and indexes are SQL, with all names in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    pub schema: String,
    pub name: String,
    /// Those that publish it.
    pub publications: Vec<String>,
    /// `pg_class.relreplident`.
    pub identity: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_index: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_of: Option<Parent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_bound: Option<String>,
    pub columns: Vec<Column>,
    /// Those that columns own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sequences: Vec<Sequence>,
    pub constraints: Vec<Constraint>,
    /// Those that no constraint has.
    pub indexes: Vec<Index>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    pub schema: String,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// `pg_attribute.attnum`, which a column keeps for its life.
    pub number: i16,
    pub name: String,
    #[serde(rename = "type")]
    pub type_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation: Option<String>,
    pub not_null: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// `pg_attribute.attgenerated`; its expression is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<String>,
    /// `pg_attribute.attidentity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The value of rows that are older than the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    pub schema: String,
    pub name: String,
    pub column: String,
    #[serde(rename = "type")]
    pub type_name: String,
    pub start: i64,
    pub increment: i64,
    pub min: i64,
    pub max: i64,
    pub cache: i64,
    pub cycle: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraint {
    pub name: String,
    /// `pg_constraint.contype`.
    pub kind: String,
    pub definition: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    pub schema: String,
    pub name: String,
    /// The whole statement.
    pub definition: String,
}

/// Why a schema change could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SchemaChangeError {
    #[error("read schema change")]
    Datum(#[from] DatumError),
    #[error("read a definition: it was written by another version")]
    Definition(#[from] serde_json::Error),
    #[error("{0} is out of range in a schema change")]
    Range(&'static str),
}

impl Table {
    /// One of which only the name matters.
    pub fn named(table: &TableName) -> Self {
        Self {
            schema: table.schema.clone(),
            name: table.name.clone(),
            publications: Vec::new(),
            identity: String::new(),
            identity_index: None,
            partition_key: None,
            partition_of: None,
            partition_bound: None,
            columns: Vec::new(),
            sequences: Vec::new(),
            constraints: Vec::new(),
            indexes: Vec::new(),
        }
    }

    pub fn table_name(&self) -> TableName {
        TableName::new(&self.schema, &self.name)
    }

    pub fn is_published_by(&self, publication: &str) -> bool {
        self.publications.iter().any(|it| it == publication)
    }
}

impl Definition {
    /// For messages, and as the record's key: `public.articles`.
    pub fn name(&self) -> String {
        match self {
            Self::Table(table) => format!("{}.{}", table.schema, table.name),
            Self::Enum(Enum { schema, name, .. })
            | Self::Domain(Domain { schema, name, .. })
            | Self::Composite(Composite { schema, name, .. }) => format!("{schema}.{name}"),
            Self::Schema(Schema { name }) => name.clone(),
        }
    }

    fn table(&self) -> Option<&Table> {
        match self {
            Self::Table(table) => Some(table),
            Self::Enum(_) | Self::Domain(_) | Self::Composite(_) | Self::Schema(_) => None,
        }
    }
}

/// The subtransaction that wrote a notice, where that is told.
pub fn writer(content: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Written {
        xid: u32,
    }
    let written: Result<Written, _> = serde_json::from_slice(content);
    written.ok().map(|it| it.xid)
}

impl Notice {
    /// Reads what the source has written into its log.
    ///
    /// # Errors
    /// When the trigger there is of another version.
    pub fn parse(content: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(content)
    }

    /// The object's name, the new one where it was renamed.
    pub fn name(&self) -> String {
        let object = self.after.as_ref().or(self.before.as_ref());
        object.map(Definition::name).unwrap_or_default()
    }

    /// Whether capture saw it in a table's description, where no trigger told it.
    pub fn is_observed(&self) -> bool {
        self.statement.is_empty() && self.refused.is_none()
    }

    /// The same change of another table.
    #[must_use]
    pub fn of(&self, table: &TableName) -> Self {
        let mut notice = self.clone();
        for definition in [&mut notice.before, &mut notice.after] {
            if let Some(Definition::Table(it)) = definition {
                it.schema.clone_from(&table.schema);
                it.name.clone_from(&table.name);
            }
        }
        notice
    }

    /// The table as it was and as it is; `None` when it is of something else.
    pub fn table(&self) -> Option<(Option<&Table>, Option<&Table>)> {
        let before = self.before.as_ref().map(Definition::table);
        let after = self.after.as_ref().map(Definition::table);
        match (before, after) {
            (Some(None), _) | (_, Some(None)) => None,
            (before, after) => Some((before.flatten(), after.flatten())),
        }
    }
}

impl SchemaChange {
    /// Appends the datum.
    ///
    /// # Errors
    /// When a number does not fit Avro's 64-bit signed integers; no real log gets there.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), SchemaChangeError> {
        let signed =
            |number: u64, what| i64::try_from(number).map_err(|_| SchemaChangeError::Range(what));
        write_long(out, self.epoch);
        write_long(
            out,
            signed(self.position.commit_lsn.as_u64(), "commit_lsn")?,
        );
        write_long(out, signed(self.position.ordinal, "ordinal")?);
        write_long(out, self.commit_time);
        write_long(out, self.xid.into());
        write_str(out, &self.notice.tag);
        write_long(out, self.notice.oid.into());
        write_str(out, &self.notice.statement);
        write_bool(out, self.notice.rewritten);
        write_optional(out, self.notice.refused.as_deref());
        for definition in [&self.notice.before, &self.notice.after] {
            let text = definition.as_ref().map(serde_json::to_string).transpose()?;
            write_optional(out, text.as_deref());
        }
        Ok(())
    }

    /// # Errors
    /// When it is none.
    pub fn decode(datum: &[u8]) -> Result<Self, SchemaChangeError> {
        let mut reader = Reader::new(datum);
        let natural =
            |long: i64, what| u64::try_from(long).map_err(|_| SchemaChangeError::Range(what));
        let epoch = reader.long()?;
        let position = Position {
            commit_lsn: Lsn::new(natural(reader.long()?, "commit_lsn")?),
            ordinal: natural(reader.long()?, "ordinal")?,
        };
        let commit_time = reader.long()?;
        let xid = u32::try_from(reader.long()?).map_err(|_| SchemaChangeError::Range("xid"))?;
        let tag = reader.str()?.to_owned();
        let oid = u32::try_from(reader.long()?).map_err(|_| SchemaChangeError::Range("oid"))?;
        let statement = reader.str()?.to_owned();
        let rewritten = reader.bool()?;
        let refused = match reader.some()? {
            true => Some(reader.str()?.to_owned()),
            false => None,
        };
        let mut definition = || -> Result<Option<Definition>, SchemaChangeError> {
            Ok(match reader.some()? {
                true => Some(serde_json::from_str(reader.str()?)?),
                false => None,
            })
        };
        let (before, after) = (definition()?, definition()?);
        reader.finish()?;
        Ok(Self {
            epoch,
            position,
            commit_time,
            xid,
            notice: Notice {
                tag,
                oid,
                statement,
                rewritten,
                refused,
                before,
                after,
            },
        })
    }
}

fn write_optional(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        None => write_long(out, 0),
        Some(text) => {
            write_long(out, 1);
            write_str(out, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use apache_avro::reader::datum::GenericDatumReader;

    use super::*;

    fn change() -> SchemaChange {
        let notice = r#"{"tag":"ALTER TABLE","oid":16400,"statement":"alter …","rewritten":true,"refused":"why",
            "before":{"object":"domain","schema":"s","name":"d","type":"text","default":"'x'","not_null":true,
                "constraints":[{"name":"c","kind":"c","definition":"CHECK (VALUE <> ''::text)"}]},
            "after":{"object":"table","schema":"public","name":"t","publications":["lockstep"],
                "identity":"d","columns":[{"number":1,"name":"id","type":"integer","not_null":true}],
                "constraints":[{"name":"t_pkey","kind":"p","definition":"PRIMARY KEY (id)"}],
                "indexes":[]}}"#;
        SchemaChange {
            epoch: 3,
            position: Position {
                commit_lsn: Lsn::new(77),
                ordinal: 5,
            },
            commit_time: -1,
            xid: 9,
            notice: Notice::parse(notice.as_bytes()).unwrap(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut datum = Vec::new();
        change().encode(&mut datum).unwrap();
        assert_eq!(SchemaChange::decode(&datum).unwrap(), change());
        for length in 0..datum.len() {
            assert!(SchemaChange::decode(&datum[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn the_schema_describes_the_datum() {
        let schema = apache_avro::Schema::parse_str(SCHEMA).unwrap();
        let mut datum = Vec::new();
        change().encode(&mut datum).unwrap();
        let reader = GenericDatumReader::builder(&schema).build().unwrap();
        let value = reader.read_value(&mut datum.as_slice()).unwrap();
        let apache_avro::types::Value::Record(fields) = value else {
            panic!("no record");
        };
        assert_eq!(
            fields[5].1,
            apache_avro::types::Value::String("ALTER TABLE".to_owned())
        );
    }
}
