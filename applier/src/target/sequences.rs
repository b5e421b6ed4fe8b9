//! Sequences of the target, kept where those of the source are, so that it can take over.

use std::collections::BTreeMap;

use tokio_postgres::{Client, Statement};

/// Those of the target that are behind what the source's have handed out: schemas, names and last
/// values are `$1` to `$3`. What the target does not have, or we may not set, is left alone. One that
/// begins again at its end is never behind another place: it is where the source's is, or not.
pub const SEQUENCES_BEHIND: &str = "
    select c.oid, v.schema, v.name, v.last_value as source, present.last_value as target,
           s.seqmin, s.seqmax, s.seqcycle
      from unnest($1::text[], $2::text[], $3::int8[]) as v (schema, name, last_value)
      join pg_catalog.pg_namespace n on n.nspname = v.schema
      join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = v.name
      join pg_catalog.pg_sequence s on s.seqrelid = c.oid
     cross join lateral (
           select case when c.relkind <> 'S' then null
                       when has_sequence_privilege(c.oid, 'select')
                       then pg_catalog.pg_sequence_last_value(c.oid) end as last_value) present
     where case when c.relkind <> 'S' then false
                when not has_sequence_privilege(c.oid, 'update') then false
                when s.seqcycle then present.last_value is distinct from v.last_value
                when s.seqincrement > 0 then coalesce(present.last_value < v.last_value, true)
                else coalesce(present.last_value > v.last_value, true) end";

/// The statement that moves them on. It is no part of the transaction: what it does stays, and that a
/// sequence is ahead is no harm.
pub(super) struct SequenceStatement(Statement);

impl SequenceStatement {
    pub(super) async fn prepare(client: &Client) -> Result<Self, tokio_postgres::Error> {
        let sql = format!(
            "select setval(b.oid::regclass, least(greatest(b.source, b.seqmin), b.seqmax)) \
               from ({SEQUENCES_BEHIND}) b"
        );
        client.prepare(&sql).await.map(Self)
    }

    /// Moves on those that are behind. By schema and name, what the source has handed out.
    pub(super) async fn advance(
        &self,
        client: &Client,
        sequences: BTreeMap<(&str, &str), i64>,
    ) -> Result<u64, tokio_postgres::Error> {
        let (names, values): (Vec<(&str, &str)>, Vec<i64>) = sequences.into_iter().unzip();
        let (schemas, names): (Vec<&str>, Vec<&str>) = names.into_iter().unzip();
        client.execute(&self.0, &[&schemas, &names, &values]).await
    }
}
