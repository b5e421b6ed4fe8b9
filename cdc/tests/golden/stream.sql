-- Protocol 2: transactions that are larger than logical_decoding_work_mem arrive while in progress.
-- What makes them large is a table that is not published.
\o /dev/null
create type mood as enum ('sad', 'happy');
create table t (id int primary key, feeling mood);
create table other (id int primary key);
create table ballast (filler text);
create publication golden for table t, other;
select pg_create_logical_replication_slot('golden_stream', 'pgoutput');
set logical_decoding_work_mem = '64kB';

-- Two transactions that take turns, one with a subtransaction rolled back. A prepared one is
-- streamed as any other where two_phase is not asked for.
begin;
insert into t values (1, 'happy');
insert into ballast select repeat('a', 2000) from generate_series(1, 35);
select pg_logical_emit_message(true, 'within', 'a');
savepoint s;
insert into t values (2, 'sad');
insert into ballast select repeat('b', 2000) from generate_series(1, 35);
rollback to s;
savepoint s;
insert into t values (3, null);
release s;
prepare transaction 'first';

begin;
insert into other select generate_series(1, 2);
commit;

begin;
insert into t values (4, 'sad');
update t set id = 5 where id = 4;
insert into ballast select repeat('c', 2000) from generate_series(1, 35);
delete from t where id = 5;
truncate other;
commit;

commit prepared 'first';

-- One that is streamed and then rolled back.
begin;
insert into t values (6, 'sad');
insert into ballast select repeat('d', 2000) from generate_series(1, 35);
rollback;

-- Only a commit makes sure that the rollback before it is on disk, from where it is decoded.
insert into other values (3);

\o
select lsn, xid, (extract(epoch from pg_xact_commit_timestamp(xid)) * 1000000)::bigint, encode(data, 'hex')
from pg_logical_slot_get_binary_changes('golden_stream', null, null,
    'proto_version', '2', 'publication_names', 'golden', 'binary', 'true', 'messages', 'true',
    'streaming', 'on');
\o /dev/null
select pg_drop_replication_slot('golden_stream');
