use crate::wire::cursor::Cursor;
use crate::wire::tuple::column_count;
use crate::wire::{Oid, WireError};

/// `'R'`: how the rows of a relation look from here on. Comes before the relation's first change
/// and again after its definition, or the publication, changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation<'a> {
    pub oid: Oid,
    pub namespace: &'a str,
    pub name: &'a str,
    pub replica_identity: ReplicaIdentity,
    /// The published columns: without generated and dropped ones, and those a column list leaves out.
    pub columns: Vec<RelationColumn<'a>>,
}

/// What an update or delete tells of the old row (`pg_class.relreplident`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaIdentity {
    /// `'d'`: the primary key, nothing without one.
    Default,
    /// `'n'`
    Nothing,
    /// `'f'`: the whole row.
    Full,
    /// `'i'`: the columns of one unique index.
    Index,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelationColumn<'a> {
    pub name: &'a str,
    /// A column of the replica identity; under [`ReplicaIdentity::Full`] every column is.
    pub key: KeyColumn,
    pub type_oid: Oid,
    /// `pg_attribute.atttypmod`: -1 for none.
    pub type_modifier: i32,
}

/// `LOGICALREP_IS_REPLICA_IDENTITY`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyColumn {
    Yes,
    No,
}

/// `'Y'`: the name of a type that is not built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type<'a> {
    pub oid: Oid,
    pub namespace: &'a str,
    pub name: &'a str,
}

pub(super) fn relation<'a>(input: &mut Cursor<'a>) -> Result<Relation<'a>, WireError> {
    Ok(Relation {
        oid: input.oid()?,
        namespace: namespace(input)?,
        name: input.string()?,
        replica_identity: replica_identity(input.u8()?)?,
        columns: columns(input)?,
    })
}

pub(super) fn type_<'a>(input: &mut Cursor<'a>) -> Result<Type<'a>, WireError> {
    Ok(Type {
        oid: input.oid()?,
        namespace: namespace(input)?,
        name: input.string()?,
    })
}

/// `pg_catalog` is sent as nothing.
fn namespace<'a>(input: &mut Cursor<'a>) -> Result<&'a str, WireError> {
    match input.string()? {
        "" => Ok("pg_catalog"),
        namespace => Ok(namespace),
    }
}

fn replica_identity(byte: u8) -> Result<ReplicaIdentity, WireError> {
    match byte {
        b'd' => Ok(ReplicaIdentity::Default),
        b'n' => Ok(ReplicaIdentity::Nothing),
        b'f' => Ok(ReplicaIdentity::Full),
        b'i' => Ok(ReplicaIdentity::Index),
        kind => Err(WireError::UnknownKind {
            what: "replica identity",
            kind,
        }),
    }
}

fn columns<'a>(input: &mut Cursor<'a>) -> Result<Vec<RelationColumn<'a>>, WireError> {
    let count = column_count(input.i16()?)?;
    let mut columns = Vec::new();
    for _ in 0..count {
        columns.push(RelationColumn {
            key: key_column(input.u8()?)?,
            name: input.string()?,
            type_oid: input.oid()?,
            type_modifier: input.i32()?,
        });
    }
    Ok(columns)
}

fn key_column(flags: u8) -> Result<KeyColumn, WireError> {
    match flags {
        0 => Ok(KeyColumn::No),
        1 => Ok(KeyColumn::Yes),
        kind => Err(WireError::UnknownKind {
            what: "column flags",
            kind,
        }),
    }
}
