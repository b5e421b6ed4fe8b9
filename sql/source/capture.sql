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

-- What is asked for while a table is read wants what was read already, too.
drop index if exists lockstep.snapshots_open;
create unique index if not exists snapshots_waiting
    on lockstep.snapshots (slot, table_schema, table_name) where state = 'waiting';

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
