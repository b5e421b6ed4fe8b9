-- What operators want of apply, and what they and apply did. Idempotent, as progress.sql.

-- Rises with every change to what follows that apply must heed, in the transaction of that change:
-- apply begins each of its transactions by taking its row of lockstep.progress at the number that it
-- knows. So who has raised the number knows that nothing is applied by the old rules any more, and
-- until its transaction ends nothing is applied at all.
alter table lockstep.progress add column if not exists control bigint not null default 0;

-- The commit_lsn of the last commits record that is applied whole, when apply stopped inside the next
-- one: then commit_lsn is ahead of it.
alter table lockstep.progress add column if not exists chain_lsn pg_lsn;

create table if not exists lockstep.control (
    pipeline text primary key,
    -- Apply rests between two transactions.
    paused boolean not null default false,
    -- Apply stops where everything before this LSN is on the target and nothing else, until
    -- hold_until at most; progress then is at the byte before it.
    hold_lsn pg_lsn,
    hold_until timestamptz,
    check ((hold_lsn is null) = (hold_until is null))
);

-- Tables that wait while the others go on.
create table if not exists lockstep.held_tables (
    pipeline text not null,
    table_schema text not null,
    table_name text not null,
    -- The table has everything up to here and nothing behind it. Its next change is covered by a
    -- commits record behind commits_offset.
    commit_lsn pg_lsn not null,
    commits_offset bigint not null,
    -- What held it: an operator, or an error.
    cause text not null check (cause in ('operator', 'error')),
    reason text not null,
    held_by text not null,
    held_at timestamptz not null default clock_timestamp(),
    primary key (pipeline, table_schema, table_name)
);

-- Changes that were set aside: one that the target refused, and those of the same key that came
-- after it. While a key has an open one, all its changes come here.
create table if not exists lockstep.dead_letters (
    id bigint generated always as identity primary key,
    pipeline text not null,
    table_schema text not null,
    table_name text not null,
    commit_lsn pg_lsn not null,
    ordinal bigint not null,
    -- Where the record stands, and its schema's id in lockstep.schemas.
    topic text not null,
    kafka_partition integer not null,
    kafka_offset bigint not null,
    schema_id bigint not null,
    op text not null,
    -- The binary images of the row's columns (of a deleted row: of its key's), each behind its length
    -- in four bytes; -1 is NULL, -2 a value that the update did not touch.
    images bytea not null,
    -- The key in the same layout, and the key that an update moved the row from. Both are held; null,
    -- where nobody knows it: then all keys of the table are.
    key bytea,
    moved_from bytea,
    -- conflict: the target refused it; follows: an earlier change of its key is open; undecodable: the
    -- record cannot be read, so that op, images and key are not known.
    error_class text not null,
    sqlstate text,
    -- Names what is at fault, never a value.
    error text not null,
    constraint_name text,
    attempts integer not null default 1,
    state text not null default 'open' check (state in ('open', 'applied', 'discarded')),
    set_aside_at timestamptz not null default clock_timestamp(),
    closed_at timestamptz,
    closed_by text,
    closed_why text,
    unique (pipeline, commit_lsn, ordinal, table_schema, table_name)
);

-- The value of a record that cannot be read.
alter table lockstep.dead_letters add column if not exists record bytea;
alter table lockstep.dead_letters alter column key drop not null,
    drop constraint if exists dead_letters_op_check,
    drop constraint if exists dead_letters_error_class_check,
    add constraint dead_letters_op_check
        check (op in ('insert', 'update', 'delete', 'unknown')),
    add constraint dead_letters_error_class_check
        check (error_class in ('conflict', 'follows', 'undecodable'));

-- When it was acknowledged in the topic of dead letters, which is fed from this table.
alter table lockstep.dead_letters add column if not exists published_at timestamptz;

create index if not exists dead_letters_unpublished
    on lockstep.dead_letters (pipeline, id) where published_at is null;

create index if not exists dead_letters_open
    on lockstep.dead_letters (pipeline, table_schema, table_name, key) where state = 'open';
-- Pages of them.
create index if not exists dead_letters_open_in_order
    on lockstep.dead_letters (pipeline, id) where state = 'open';

-- What was found by comparisons of source and target.
create table if not exists lockstep.verifications (
    id bigint generated always as identity primary key,
    pipeline text not null,
    commit_lsn pg_lsn not null,
    started_at timestamptz not null,
    finished_at timestamptz not null default clock_timestamp(),
    -- How long apply was held for it.
    held interval not null,
    equal boolean not null,
    rows_compared bigint not null,
    rows_different bigint not null,
    rows_repaired bigint not null default 0,
    started_by text not null,
    -- A comparison a table, as "lockstep verify --json" prints them.
    tables jsonb not null
);

-- Replays, how far they are, and what they did.
create table if not exists lockstep.replays (
    id bigint generated always as identity primary key,
    pipeline text not null,
    -- live: into the replicated tables; copy: into tables of their own in into_schema.
    mode text not null check (mode in ('live', 'copy')),
    into_schema text,
    from_lsn pg_lsn not null,
    to_lsn pg_lsn not null,
    -- None: all.
    tables text[],
    state text not null check (state in ('running', 'cancelled', 'failed', 'done')),
    -- Everything up to the commits record at this offset is read.
    commits_offset bigint,
    read_lsn pg_lsn,
    rows_read bigint not null default 0,
    -- The numbers a table, as the dry run has them.
    result jsonb,
    error text,
    started_by text not null,
    reason text not null,
    started_at timestamptz not null default clock_timestamp(),
    -- Somebody works on it as long as this rises.
    touched_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz
);

-- Who did what, and why.
create table if not exists lockstep.audit (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    pipeline text not null,
    who text not null,
    -- A verb and its object, as the command line has them: "pause apply".
    action text not null,
    object text,
    reason text,
    details jsonb
);

-- How the target's tables differ from the source's by the applier's options, as it works at present.
create table if not exists lockstep.differences (
    pipeline text primary key,
    -- An option and its value each; of the key of hashes a fingerprint.
    options text[] not null,
    written_at timestamptz not null default clock_timestamp()
);
