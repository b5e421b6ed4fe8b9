-- What operators want of capture, kept on the source. Idempotent: run at every start.

-- The articles' migrations make the same schema, and of two `if not exists` at once, one fails.
select pg_advisory_xact_lock(hashtext('articles_migrations'));

create schema if not exists lockstep;

create table if not exists lockstep.capture (
    slot text primary key,
    -- Capture takes no changes: the slot keeps them.
    paused boolean not null default false,
    reason text,
    changed_by text not null,
    changed_at timestamptz not null default clock_timestamp()
);

-- Tables to read once more while changes flow on.
create table if not exists lockstep.snapshots (
    id bigint generated always as identity primary key,
    slot text not null,
    table_schema text not null,
    table_name text not null,
    state text not null default 'waiting'
        check (state in ('waiting', 'running', 'done', 'cancelled', 'failed')),
    requested_by text not null,
    reason text,
    -- The key, as texts, up to which all rows count in the topics.
    after_key text[],
    key_columns text[],
    rows_read bigint not null default 0,
    -- By the statistics of the time when it began; none where there are none.
    rows_estimated bigint,
    chunks bigint not null default 0,
    -- What it waits for when it does not go on: the slot's room, or the end of a pause.
    waits_for text,
    error text,
    requested_at timestamptz not null default clock_timestamp(),
    started_at timestamptz,
    touched_at timestamptz,
    finished_at timestamptz
);

-- Rows that the source does not have go from the target: the table was not followed for a while.
alter table lockstep.snapshots add column if not exists anew boolean not null default false;

-- A table is followed when it is renamed. People ask by name: theirs is known once it is served.
alter table lockstep.snapshots add column if not exists table_oid oid;

-- A row whose key changes may come from where nobody has read yet to where nobody reads again, without
-- its large values. Then another pass reads the rows that `since` and later transactions have written,
-- numbers as in pg_snapshot. `horizon`: all before it were shown to the first chunk of this pass.
alter table lockstep.snapshots add column if not exists since bigint,
                               add column if not exists horizon bigint;

-- What is asked for while a table is read wants what was read already, too.
drop index if exists lockstep.snapshots_open, lockstep.snapshots_waiting;
create unique index if not exists snapshots_waiting_by_name
    on lockstep.snapshots (slot, table_schema, table_name)
    where state = 'waiting' and table_oid is null;
create unique index if not exists snapshots_waiting_by_oid
    on lockstep.snapshots (slot, table_oid) where state = 'waiting';

-- First snapshots that are not complete. What is noted counts in the topics; so an interrupted one
-- goes on with the rest.
create table if not exists lockstep.first_snapshots (
    slot text primary key,
    -- Of the capture that may take notes.
    epoch bigint not null,
    begun_at timestamptz not null default clock_timestamp()
);

create table if not exists lockstep.first_snapshot_chunks (
    slot text not null references lockstep.first_snapshots on delete cascade,
    relation oid not null,
    -- The first block; the chunk ends where the next may begin.
    block bigint not null check (block between 0 and 4294967295),
    -- Of the table's files, columns and filter: the note is void for a table of another form.
    form text not null,
    rows bigint not null,
    -- All rows of the chunk that transactions before this one wrote are in the topics.
    horizon bigint not null,
    noted_at timestamptz not null default clock_timestamp(),
    primary key (slot, relation, block)
);

-- Tables whose changes are left out since the registry refused their schema. A row goes when the table
-- is read once more, which brings what was left out.
create table if not exists lockstep.refused_tables (
    slot text not null,
    table_schema text not null,
    table_name text not null,
    reason text not null,
    refused_at timestamptz not null default clock_timestamp(),
    primary key (slot, table_schema, table_name)
);
