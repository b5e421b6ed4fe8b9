-- Every message of protocol 1 but for Origin, and every kind of column.
\o /dev/null
create schema "odd schema";
create type mood as enum ('sad', 'happy');
create table "odd schema"."Ünïcode" (
    id int primary key,
    label varchar(20),
    price numeric(10, 2),
    big text,
    feeling mood,
    grant_to aclitem,
    tripled int generated always as (id * 3) stored
);
alter table "odd schema"."Ünïcode" alter big set storage external;
create table log (at timestamptz, line text);
alter table log replica identity full;
create table parent (id int generated always as identity primary key);
create table child (id int primary key, parent int references parent);
create table chosen (a int not null, b text not null, c text);
create unique index chosen_b on chosen (b);
alter table chosen replica identity using index chosen_b;
create table inserts_only (v bool);
alter table inserts_only replica identity nothing;
create publication golden for all tables;
select pg_create_logical_replication_slot('golden_changes', 'pgoutput');

-- Null, empty, text (aclitem has no send function), an enum, a generated column that is left out.
insert into "odd schema"."Ünïcode" values (1, '', 12.50, repeat('x', 3000), 'happy', 'postgres=r/postgres');
insert into "odd schema"."Ünïcode" (id) values (2);
-- An unchanged TOASTed column.
update "odd schema"."Ünïcode" set label = 'é' where id = 1;
-- A change of the key.
update "odd schema"."Ünïcode" set id = 7 where id = 2;
delete from "odd schema"."Ünïcode" where id = 7;
-- Whole old rows.
insert into log values ('2000-01-01 00:00:01+00', 'one'), ('infinity', null);
update log set line = 'two' where line = 'one';
delete from log where line is null;
-- The identity is an index.
insert into chosen values (1, 'k', 'c');
update chosen set c = 'd';
update chosen set b = 'l';
delete from chosen;
insert into inserts_only values (true);
-- Truncation of one, and of two with both options.
truncate log;
truncate parent restart identity cascade;
-- A definition that changes between two changes of one transaction.
begin;
insert into log values (null, 'narrow');
alter table log add column more int;
insert into log values (null, 'wide', 3);
commit;
-- Messages: in a transaction that rolls back, beside it, in one that commits, beside that.
begin;
select pg_logical_emit_message(true, 'lost', 'lost');
select pg_logical_emit_message(false, 'kept', E'\\x0041'::bytea);
rollback;
begin;
select pg_logical_emit_message(true, 'lockstep.ddl', 'alter table');
select pg_logical_emit_message(false, 'lockstep.heartbeat', '');
commit;

\o
select lsn, xid, (extract(epoch from pg_xact_commit_timestamp(xid)) * 1000000)::bigint, encode(data, 'hex')
from pg_logical_slot_get_binary_changes('golden_changes', null, null,
    'proto_version', '1', 'publication_names', 'golden', 'binary', 'true', 'messages', 'true');
\o /dev/null
select pg_drop_replication_slot('golden_changes');
