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

-- How far the target is concerns everybody who reads it after a write to the source.
grant usage on schema lockstep to public;
grant select on lockstep.progress to public;

-- Waits until everything that the source committed up to `lsn` is here, and answers how far the
-- target is then. Raises LS001 when that takes longer than `patience`, LS002 when it cannot be
-- waited for at all. A client that has written to the source asks there for
-- pg_current_wal_flush_lsn() - 1, or takes the Lockstep-Position of the REST API's answer.
-- `pipeline` has to be named only where several apply to this database.
create or replace function lockstep.wait_for(
    lsn pg_lsn,
    patience interval default '2 s',
    pipeline text default null
) returns pg_lsn language plpgsql volatile as $$
declare
    give_up_at constant timestamptz := clock_timestamp() + patience;
    pause double precision := 0.001;
    place lockstep.progress;
begin
    if lsn is null or patience is null then
        raise exception 'wait_for needs an LSN and a time' using errcode = 'LS002';
    end if;
    -- Later isolation levels see the state at the transaction's first statement, for ever.
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception 'wait_for cannot see progress in a % transaction',
            current_setting('transaction_isolation')
            using errcode = 'LS002', hint = 'Call it before the transaction begins.';
    end if;
    if pipeline is null and (select count(*) > 1 from lockstep.progress) then
        raise exception 'several pipelines apply to this database' using errcode = 'LS002',
            hint = 'Name one: ' || (select string_agg(p.pipeline, ', ') from lockstep.progress p);
    end if;
    loop
        select * into place from lockstep.progress p
         where p.pipeline = coalesce(wait_for.pipeline, p.pipeline);
        exit when place.commit_lsn >= lsn and place.phase = 'streaming';
        if clock_timestamp() >= give_up_at then
            raise exception 'the target has not applied % within %', lsn, patience
                using errcode = 'LS001',
                detail = case
                    when place.pipeline is null then 'Nothing was applied yet.'
                    when place.phase <> 'streaming' then 'The first snapshot is not complete.'
                    else format('It is at %s, %s bytes behind.', place.commit_lsn,
                                lsn - place.commit_lsn)
                end,
                hint = '"lockstep status" shows where the pipeline stands.';
        end if;
        perform pg_sleep(pause);
        pause := least(pause * 2, 0.02);
    end loop;
    return place.commit_lsn;
end
$$;
