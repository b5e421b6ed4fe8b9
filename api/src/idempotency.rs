//! Requests that may be repeated without being done twice: those with an `Idempotency-Key`
//! (draft-ietf-httpapi-idempotency-key-header).
//!
//! The answer is stored in the transaction that does what was asked, so there are both or neither,
//! whatever breaks in between. Only successes are stored: a request that failed has changed
//! nothing, and may be repeated with its key. Keys are forgotten after a day.

use std::time::Duration;

use deadpool_postgres::{Object, Transaction};
use service::Shutdown;
use service::postgres::describe;
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::database::{Database, QueryError};
use crate::http::{HeaderMap, HeaderName, HeaderValue, Kind, Problem, Reply, StatusCode, header};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Of an answer that was stored.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

const KEY_LENGTH: usize = 255;

/// What names a request and all its repetitions.
#[derive(Debug)]
pub(crate) struct Key(String);

impl Key {
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let is_fit = (1..=KEY_LENGTH).contains(&value.len())
            && value.as_bytes().iter().all(u8::is_ascii_graphic)
            && values.next().is_none();
        match value.to_str() {
            Ok(text) if is_fit => Ok(Some(Self(text.to_owned()))),
            _ => {
                let detail = format!(
                    "idempotency-key is not one value of 1 to {KEY_LENGTH} visible ASCII characters"
                );
                Err(Problem::new(Kind::Malformed, detail))
            }
        }
    }
}

/// What tells a repetition from another request with the same key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of a POST. Its path cannot hold the NUL that stands behind it.
    pub(crate) fn of_post(path: &str, body: &[u8]) -> Self {
        let mut hash = Sha256::new();
        for part in [b"POST\0".as_slice(), path.as_bytes(), b"\0", body] {
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

/// A request with a key, as far as it has come.
pub(crate) enum Attempt<'a> {
    /// It is to be done, and to be ended by [`First::end`].
    First(First<'a>),
    /// It was done: what it was answered.
    Repeated(Reply),
}

/// A request that is done for the first time. When this is dropped, it was not done.
///
/// Also when the client goes away and the request's future with it: the transaction's end puts a
/// rollback behind what is already sent, before the connection is anybody else's.
pub(crate) struct First<'a> {
    transaction: Transaction<'a>,
    key: Key,
    fingerprint: Fingerprint,
}

/// Nobody waits for the lock of another's key: `false` says that there is one. The lock ends with
/// the transaction, after its rows can be seen. Keys with the same hash only disturb each other.
const LOCK: &str = "select pg_try_advisory_xact_lock(hashtextextended($1, 0))";

/// A key that is a day old is a new one, whether it is deleted yet or not.
const FIND: &str = "select fingerprint, status, etag, location, last_modified, body
                    from lockstep.idempotency_keys
                    where key = $1 and created_at > now() - interval '24 hours'";

const STORE: &str = "
    insert into lockstep.idempotency_keys
        (key, fingerprint, status, etag, location, last_modified, body)
    values ($1, $2, $3, $4, $5, $6, $7)
    on conflict (key) do update
    set (fingerprint, status, etag, location, last_modified, body, created_at)
        = row (excluded.fingerprint, excluded.status, excluded.etag, excluded.location,
               excluded.last_modified, excluded.body, excluded.created_at)";

/// Begins a request with a key, or finds what it was answered before.
pub(crate) async fn attempt(
    client: &mut Object,
    key: Key,
    fingerprint: Fingerprint,
) -> Result<Attempt<'_>, Problem> {
    let transaction = client.transaction().await.map_err(QueryError::from)?;
    let (is_ours, found) = claim(&transaction, &key).await?;
    if !is_ours {
        let detail = "a request with this Idempotency-Key has not ended yet";
        return Err(Problem::new(Kind::KeyInUse, detail)
            .with(header::RETRY_AFTER, HeaderValue::from_static("1")));
    }
    let Some(row) = found else {
        return Ok(Attempt::First(First {
            transaction,
            key,
            fingerprint,
        }));
    };
    let is_same = row.get::<_, &[u8]>(0) == fingerprint.0;
    // Who repeats it when this is answered must not find the key still taken by this.
    transaction.rollback().await.map_err(QueryError::from)?;
    if !is_same {
        let detail = "this Idempotency-Key came with another path or body before";
        return Err(Problem::new(Kind::KeyReused, detail));
    }
    let reply = stored(&row)?.with(REPLAYED, HeaderValue::from_static("true"));
    Ok(Attempt::Repeated(reply))
}

/// Both in one round trip: the server looks, with a snapshot of its own, when it has tried the lock.
async fn claim(
    transaction: &Transaction<'_>,
    key: &Key,
) -> Result<(bool, Option<Row>), QueryError> {
    let lock = transaction.prepare_cached(LOCK).await?;
    let find = transaction.prepare_cached(FIND).await?;
    let parameters: [&(dyn ToSql + Sync); 1] = [&key.0];
    let (locked, found) = futures_util::future::try_join(
        transaction.query_one(&lock, &parameters),
        transaction.query_opt(&find, &parameters),
    )
    .await?;
    Ok((locked.get(0), found))
}

/// The headers that a repetition needs, in the order of the columns.
const STORED: [HeaderName; 3] = [header::ETAG, header::LOCATION, header::LAST_MODIFIED];

fn stored(row: &Row) -> Result<Reply, Problem> {
    let status = u16::try_from(row.get::<_, i16>(1)).ok();
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let Some(status) = status else {
        tracing::error!("lockstep.idempotency_keys holds what is no status");
        return Err(Problem::new(
            Kind::Internal,
            "a stored answer is unreadable",
        ));
    };
    let mut reply = Reply::of_type(status, "application/json", row.get(5));
    for (column, name) in (2..).zip(STORED) {
        if let Some(text) = row.get::<_, Option<&str>>(column) {
            reply = reply.with_text(name, text);
        }
    }
    Ok(reply)
}

impl<'a> First<'a> {
    /// Where to do what is asked.
    pub(crate) fn transaction(&self) -> &Transaction<'a> {
        &self.transaction
    }

    /// Commits what was done together with its answer. What was refused leaves nothing, and the key
    /// is free when that is answered.
    pub(crate) async fn end(self, outcome: Result<Reply, Problem>) -> Result<Reply, Problem> {
        match outcome {
            Ok(reply) => Ok(self.succeed(reply).await?),
            Err(problem) => {
                // Where that fails the connection is gone, and the claim with it.
                let _ = self.transaction.rollback().await;
                Err(problem)
            }
        }
    }

    async fn succeed(self, reply: Reply) -> Result<Reply, QueryError> {
        let status = i16::try_from(reply.status.as_u16()).unwrap_or_default();
        let [etag, location, last_modified] = STORED.map(|name| {
            let value = reply.headers.get(name)?;
            value.to_str().ok().map(str::to_owned)
        });
        let store = self.transaction.prepare_cached(STORE).await?;
        let values: [&(dyn ToSql + Sync); 7] = [
            &self.key.0,
            &self.fingerprint.0.as_slice(),
            &status,
            &etag,
            &location,
            &last_modified,
            &reply.body,
        ];
        self.transaction.execute(&store, &values).await?;
        self.transaction.commit().await?;
        Ok(reply)
    }
}

/// How often old keys are looked for, and how soon again when the database is away.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
const SWEEP_LIMIT: Duration = Duration::from_secs(5);

/// Few at a time, so that no sweep holds rows for long. Of several services each takes others.
const SWEEP: &str = "
    delete from lockstep.idempotency_keys where key in (
        select key from lockstep.idempotency_keys
        where created_at <= now() - interval '24 hours'
        order by created_at limit 500 for update skip locked
    )";
const BATCH: u64 = 500;

/// Deletes what is a day old, until the stop.
pub(crate) async fn sweep_until(stop: &Shutdown, database: &Database) {
    while !stop.is_requested() {
        let pause = match timeout(SWEEP_LIMIT, sweep(database)).await {
            Ok(Ok(deleted)) if deleted < BATCH => SWEEP_INTERVAL,
            Ok(Ok(_)) => Duration::ZERO,
            // That the database is away is logged where it is noticed.
            Ok(Err(QueryError::Exhausted | QueryError::Away | QueryError::TimedOut)) | Err(_) => {
                RETRY_INTERVAL
            }
            Ok(Err(QueryError::Failed(error))) => {
                tracing::warn!(error = describe(&error), "delete old idempotency keys");
                SWEEP_INTERVAL
            }
        };
        tokio::select! {
            biased;
            () = stop.requested() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn sweep(database: &Database) -> Result<u64, QueryError> {
    let client = database.client().await?;
    let statement = client.prepare_cached(SWEEP).await?;
    Ok(client.execute(&statement, &[]).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(values: &[&str]) -> Result<Option<Key>, Problem> {
        let pairs = values
            .iter()
            .map(|value| (IDEMPOTENCY_KEY, HeaderValue::from_str(value).unwrap()));
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value);
        }
        Key::of(&headers)
    }

    #[test]
    fn a_key_is_visible_ascii_of_limited_length() {
        assert!(key(&[]).unwrap().is_none());
        for fit in ["a", "\"8e03978e\"", "~!", &"k".repeat(255)] {
            assert_eq!(key(&[fit]).unwrap().unwrap().0, fit);
        }
        for unfit in ["", "a b", "a\tb", "\u{e9}", &"k".repeat(256)] {
            assert!(key(&[unfit]).is_err(), "{unfit}");
        }
        assert!(key(&["a", "a"]).is_err());
    }

    #[test]
    fn another_path_or_body_is_another_request() {
        let of = Fingerprint::of_post;
        assert_eq!(of("/a", b"b"), of("/a", b"b"));
        assert_ne!(of("/a", b"b"), of("/a", b"c"));
        assert_ne!(of("/a", b"b"), of("/ab", b""));
    }
}
