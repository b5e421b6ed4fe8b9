-- What requests with an Idempotency-Key were answered, so that one that is repeated is not done twice.
-- Bookkeeping of this service: nothing in the schema lockstep is replicated.
create schema if not exists lockstep;

create table lockstep.idempotency_keys (
    key text primary key
        constraint idempotency_keys_key_length check (octet_length(key) between 1 and 255),
    -- SHA-256 of what was asked: method, path and body.
    fingerprint bytea not null
        constraint idempotency_keys_fingerprint_length check (octet_length(fingerprint) = 32),
    status smallint not null,
    etag text,
    location text,
    last_modified text,
    body bytea not null,
    created_at timestamptz not null default now()
);

-- For whoever deletes what is a day old.
create index idempotency_keys_by_age on lockstep.idempotency_keys (created_at);
