-- What the applier keeps on the target. Idempotent: run at every start.

create schema if not exists lockstep;

-- How far each pipeline is. Written in the transaction that writes the rows, so that both are
-- there or neither is.
create table if not exists lockstep.progress (
    pipeline text primary key,
    epoch bigint not null,
    commit_lsn pg_lsn not null,
    commits_offset bigint not null,
    system_id text not null,
    timeline bigint not null,
    slot text not null,
    phase text not null check (phase in ('snapshotting', 'streaming')),
    commit_time timestamptz not null,
    applied_at timestamptz not null default now()
);

-- The schemas that records were written with, so that a replaced registry is noticed and a lost
-- one survived.
create table if not exists lockstep.schemas (
    id bigint primary key,
    topic text not null,
    fingerprint text not null,
    schema text not null,
    seen_at timestamptz not null default now()
);
