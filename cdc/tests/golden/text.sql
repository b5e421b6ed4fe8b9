-- Protocol 1 without binary: all values as text. And the origin of a transaction.
\o /dev/null
create table t (id int primary key, at timestamptz, f float8, b bytea);
create publication golden for table t;
select pg_create_logical_replication_slot('golden_text', 'pgoutput');
select pg_replication_origin_create('elsewhere');

insert into t values (-1, '2000-01-01 00:00:01+00', 'nan', '\xff');
select pg_replication_origin_session_setup('elsewhere');
begin;
select pg_replication_origin_xact_setup('16/B374D848', '2026-01-01 00:00:00+00');
insert into t values (2, null, null, null);
commit;
select pg_replication_origin_session_reset();

\o
select lsn, xid, (extract(epoch from pg_xact_commit_timestamp(xid)) * 1000000)::bigint, encode(data, 'hex')
from pg_logical_slot_get_binary_changes('golden_text', null, null,
    'proto_version', '1', 'publication_names', 'golden');
\o /dev/null
select pg_drop_replication_slot('golden_text');
select pg_replication_origin_drop('elsewhere');
