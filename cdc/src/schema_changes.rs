//! Changes of tables, types and schemas, as the source's trigger tells them: to their topic, at their
//! place among the changes of rows.

use std::collections::HashSet;

use change::TableName;
use change::avro;
use change::framing::{SchemaId, write_header};
use change::relation::{self, Relation};
use change::schema_change::{
    self, Definition, KEY_SCHEMA, Notice, SCHEMA, SchemaChange, SchemaChangeError, Table,
};
use change::topic::{key_subject, value_subject};
use tokio_postgres::error::SqlState;

use crate::capture::Capture;
use crate::catalog;
use crate::config::Config;
use crate::encode::Record;
use crate::error::Error;
use crate::registry::Registry;
use crate::resnapshot::{self, Strays};
use crate::tables::Learned;
use crate::transaction::{Collection, Novelty};
use crate::wire::Oid;

/// What has the source tell of them; running it again changes nothing. Needs a superuser.
pub const SQL: &str = include_str!("../../sql/source/schema_changes.sql");

/// The topic, and what its records are written with.
pub(crate) struct SchemaChanges {
    topic: String,
    key: SchemaId,
    value: SchemaId,
    /// What it does not publish is not told either.
    publication: String,
    /// Tables whose change was told before they were described anew.
    told: HashSet<Oid>,
}

/// What a change means to capture.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Meaning {
    /// Of a table that is not published.
    Nothing,
    Told,
    /// The stream does not have all rows of this table, or not as they are now.
    ReadAgain(Strays),
}

impl SchemaChanges {
    /// # Errors
    /// When the registry is away or refuses.
    pub(crate) async fn open(config: &Config, registry: &Registry) -> Result<Self, Error> {
        let topic = config.prefix.schema_changes();
        Ok(Self {
            key: registry.register(&key_subject(&topic), KEY_SCHEMA).await?,
            value: registry.register(&value_subject(&topic), SCHEMA).await?,
            publication: config.publication.clone(),
            told: HashSet::new(),
            topic,
        })
    }

    /// What a notice means. Of a table that has joined the publication nobody knows what it was before.
    fn meaning(&self, notice: &mut Notice) -> Meaning {
        let Some((before, after)) = notice.table() else {
            return Meaning::Told;
        };
        let published = |table: Option<&Table>| {
            table.is_some_and(|table| table.is_published_by(&self.publication))
        };
        let (was, is) = (published(before), published(after));
        let joined = before.is_some() && is && !was;
        let meaning = match after {
            Some(_) if is && joined => Meaning::ReadAgain(Strays::Go),
            Some(_) if is && notice.rewritten => Meaning::ReadAgain(Strays::Stay),
            _ if was || is => Meaning::Told,
            _ => Meaning::Nothing,
        };
        if joined {
            notice.before = None;
        }
        meaning
    }

    /// Key and value, framed.
    fn encode(&self, change: &SchemaChange) -> Result<(Vec<u8>, Vec<u8>), SchemaChangeError> {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        write_header(&mut key, self.key);
        avro::write_str(&mut key, &change.notice.name());
        write_header(&mut value, self.value);
        change.encode(&mut value)?;
        Ok((key, value))
    }
}

/// A table as its description shows it. Columns are numbered by where their names stand.
fn observed(relation: &Relation, names: &[&str], publication: &str) -> Table {
    let column = |column: &relation::Column| schema_change::Column {
        number: names
            .iter()
            .position(|name| *name == column.name)
            .and_then(|at| i16::try_from(at).ok())
            .unwrap_or(i16::MAX),
        name: column.name.clone(),
        type_name: column.pg_type.name.clone(),
        collation: None,
        not_null: false,
        default: column.default.clone().filter(|_| column.generated),
        generated: column.generated.then(|| "s".to_owned()),
        identity: None,
        missing: None,
    };
    Table {
        publications: vec![publication.to_owned()],
        columns: relation.columns.iter().map(column).collect(),
        ..Table::named(&relation.table)
    }
}

/// Columns whose types are called otherwise now, which the source does not say of itself.
fn renamed_types(notice: &Notice) -> Vec<(&str, &str)> {
    // Any other statement gives columns other types.
    const RENAMING: [&str; 3] = ["ALTER TYPE", "ALTER DOMAIN", SCHEMA_RENAMED];
    let Some((Some(before), Some(after))) = notice.table() else {
        return Vec::new();
    };
    if !RENAMING.contains(&notice.tag.as_str()) {
        return Vec::new();
    }
    let columns = before.columns.iter().zip(&after.columns);
    columns
        .filter(|(was, is)| was.type_name != is.type_name)
        .map(|(_, is)| (is.name.as_str(), is.type_name.as_str()))
        .collect()
}

/// What a change is called that no trigger told.
const OBSERVED: &str = "ALTER TABLE";
const SCHEMA_RENAMED: &str = "ALTER SCHEMA";

impl Capture {
    /// Takes what the source tells of a table, a type or a schema.
    pub(crate) async fn schema_change(&mut self, content: &[u8]) -> Result<(), Error> {
        let Some(transaction) = &self.transaction else {
            return Err(self.out_of_order("schema change"));
        };
        let commit_lsn = transaction.commit_lsn();
        let mut notice = Notice::parse(content).map_err(|source| Error::SchemaChange {
            commit_lsn,
            source: source.into(),
        })?;
        let is_repeated = transaction.novelty() == Novelty::Repeated;
        self.schema_changes.told.insert(notice.oid);
        if is_repeated {
            return Ok(());
        }
        let meaning = self.schema_changes.meaning(&mut notice);
        if meaning == Meaning::Nothing {
            return Ok(());
        }
        let (tag, oid) = (notice.tag.clone(), notice.oid);
        // Of a table in a schema that is renamed, the source sends no new description.
        let now = match notice.table() {
            Some((_, Some(after))) if tag == SCHEMA_RENAMED => {
                self.tables.schema_renamed(oid, &after.table_name())
            }
            Some((Some(before), Some(after))) if before.table_name() != after.table_name() => {
                self.tables.renamed(oid);
                None
            }
            Some(_) | None => None,
        };
        let parent = match notice.table() {
            Some((_, Some(after))) => after.partition_of.as_ref(),
            Some((_, None)) | None => None,
        };
        let parent = parent.map(|it| TableName::new(&it.schema, &it.name));
        let renamed = renamed_types(&notice);
        if !renamed.is_empty() {
            self.tables.rename_types(oid, &renamed).await?;
        }
        self.tell(notice).await?;
        if let Some(shape) = now {
            self.described(shape).await?;
            // The source's own may follow, with columns that were told before.
            self.schema_changes.told.insert(oid);
        }
        match meaning {
            Meaning::ReadAgain(strays) => self.read_again(oid, &tag, strays, parent.as_ref()).await,
            Meaning::Nothing | Meaning::Told => Ok(()),
        }
    }

    /// Tells what a table's description shows to have changed, where no trigger has: columns that came,
    /// went or are of another type. A column that was renamed is one that went and one that came, whose
    /// values are read.
    pub(crate) async fn observe(&mut self, oid: Oid, learned: Learned) -> Result<(), Error> {
        let was_told = self.schema_changes.told.remove(&oid);
        let Some(before) = learned.before.filter(|_| !was_told) else {
            return Ok(());
        };
        let after = &learned.plan.relation;
        let names: Vec<&str> = before
            .columns
            .iter()
            .chain(&after.columns)
            .map(|it| it.name.as_str())
            .collect();
        let publication = &self.schema_changes.publication;
        let (old, new) = (
            observed(&before, &names, publication),
            observed(after, &names, publication),
        );
        if old.columns == new.columns {
            return Ok(());
        }
        let came = new
            .columns
            .iter()
            .any(|column| !old.columns.contains(column));
        let is_new = self
            .transaction
            .as_ref()
            .is_some_and(|it| it.novelty() == Novelty::New);
        self.tell(Notice {
            tag: OBSERVED.to_owned(),
            oid,
            statement: String::new(),
            rewritten: came,
            refused: None,
            before: Some(Definition::Table(Box::new(old))),
            after: Some(Definition::Table(Box::new(new))),
        })
        .await?;
        match came && is_new {
            true => self.read_again(oid, OBSERVED, Strays::Stay, None).await,
            false => Ok(()),
        }
    }

    /// Publishes a notice at its place in the transaction that is open.
    pub(crate) async fn tell(&mut self, notice: Notice) -> Result<(), Error> {
        let Some(transaction) = &mut self.transaction else {
            return Err(self.out_of_order("schema change"));
        };
        if transaction.novelty() == Novelty::Repeated {
            return Ok(());
        }
        let commit_lsn = transaction.commit_lsn();
        let failed = |source| Error::SchemaChange { commit_lsn, source };
        tracing::info!(tag = notice.tag, object = notice.name(), %commit_lsn, "schema change");
        let change = SchemaChange {
            epoch: self.epoch,
            position: transaction
                .next_record(self.epoch, Collection::SchemaChanges)
                .position,
            commit_time: transaction.commit_time(),
            xid: transaction.summary().xid,
            notice,
        };
        let time_ms = transaction.commit_time_ms();
        let (key, value) = self.schema_changes.encode(&change).map_err(failed)?;
        let record = Record {
            key: Some(&key),
            value,
        };
        let topic = self.schema_changes.topic.clone();
        self.queue(&topic, &record, time_ms).await
    }

    /// Asks for a table to be read while changes flow on. What asks for it stands before its first
    /// chunk in the log. `parent` is what the table is told to be a partition of.
    pub(crate) async fn read_again(
        &self,
        table: Oid,
        tag: &str,
        strays: Strays,
        parent: Option<&TableName>,
    ) -> Result<(), Error> {
        let publication = &self.schema_changes.publication;
        let whole = catalog::published_through(&self.client, publication, table, parent).await?;
        // Of a table that is published through its root, the others' rows are not emptied for it.
        let (table, strays) = match whole {
            Some(root) => (root, Strays::Stay),
            None => (table, strays),
        };
        match resnapshot::ask(&self.client, &self.slot, table, tag, strays).await {
            Ok(()) => Ok(()),
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                tracing::error!(
                    table,
                    "the rows of a table changed without a word in the log, and our role may not ask \
                     for it to be read: let `lockstep snapshot --table` do it"
                );
                Ok(())
            }
            // The transaction does not count yet, and is taken again.
            Err(source) => Err(Error::Query {
                step: "ask for a table to be read again",
                source,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> SchemaChanges {
        SchemaChanges {
            topic: "lockstep.schema-changes".to_owned(),
            key: SchemaId(1),
            value: SchemaId(2),
            publication: "lockstep".to_owned(),
            told: HashSet::new(),
        }
    }

    fn table(publications: &str) -> String {
        format!(
            r#"{{"object":"table","schema":"public","name":"t","publications":[{publications}],
                "identity":"d","columns":[],"constraints":[],"indexes":[]}}"#
        )
    }

    fn notice(before: &str, after: &str, rewritten: bool) -> Notice {
        let text = format!(
            r#"{{"tag":"ALTER TABLE","before":{before},"after":{after},"rewritten":{rewritten}}}"#
        );
        Notice::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_not_published_is_not_told() {
        let (ours, others) = (table(r#""lockstep""#), table(r#""other""#));
        let meaning =
            |before: &str, after: &str| topic().meaning(&mut notice(before, after, false));
        assert_eq!(meaning("null", &others), Meaning::Nothing);
        assert_eq!(meaning(&others, "null"), Meaning::Nothing);
        assert_eq!(meaning("null", &ours), Meaning::Told);
        assert_eq!(meaning(&ours, &ours), Meaning::Told);
        assert_eq!(meaning(&ours, &others), Meaning::Told);
        assert_eq!(meaning(&ours, "null"), Meaning::Told);
        let schema = r#"{"object":"schema","name":"s"}"#;
        assert_eq!(meaning("null", schema), Meaning::Told);
    }

    #[test]
    fn rows_that_the_log_does_not_tell_are_read() {
        let (ours, others) = (table(r#""lockstep""#), table(r#""other""#));
        let mut created = notice(&others, &ours, false);
        assert_eq!(
            topic().meaning(&mut created),
            Meaning::ReadAgain(Strays::Go)
        );
        assert_eq!(created.before, None);
        let rewritten = topic().meaning(&mut notice(&ours, &ours, true));
        assert_eq!(rewritten, Meaning::ReadAgain(Strays::Stay));
        let fresh = topic().meaning(&mut notice("null", &ours, false));
        assert_eq!(fresh, Meaning::Told);
    }
}
