-- Protocol 3: the messages of two-phase commit, which only a slot made for it sends.
\o /dev/null
create table t (id int primary key, filler text);
create table ballast (filler text);
create publication golden for table t;
select pg_create_logical_replication_slot('golden_two_phase', 'pgoutput', false, true);
set logical_decoding_work_mem = '64kB';

begin;
insert into t values (1, 'a');
prepare transaction 'kept';
commit prepared 'kept';

begin;
insert into t values (2, 'b');
prepare transaction 'dropped';
rollback prepared 'dropped';

begin;
insert into t values (3, 'c');
insert into ballast select repeat('c', 2000) from generate_series(1, 35);
prepare transaction 'große';
commit prepared 'große';

\o
select lsn, xid, (extract(epoch from pg_xact_commit_timestamp(xid)) * 1000000)::bigint, encode(data, 'hex')
from pg_logical_slot_get_binary_changes('golden_two_phase', null, null,
    'proto_version', '3', 'publication_names', 'golden', 'binary', 'true', 'two_phase', 'on',
    'streaming', 'on');
\o /dev/null
select pg_drop_replication_slot('golden_two_phase');
