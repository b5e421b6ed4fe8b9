-- Indexes that tables of the source have got and the target has not built yet. Written down in the
-- transaction of their place, gone from here when they are there. Idempotent, as progress.sql.
create table if not exists lockstep.indexes (
    pipeline text not null,
    table_schema text not null,
    table_name text not null,
    -- In the schema of its table.
    index_name text not null,
    -- The whole statement.
    definition text not null,
    asked_at timestamptz not null default clock_timestamp(),
    -- When somebody began to build it last.
    started_at timestamptz,
    -- Of the attempts that failed, not of those that gave way to apply.
    attempts integer not null default 0,
    -- Names what is at fault, never a value.
    error text,
    primary key (pipeline, table_schema, index_name)
);
