//! When the snapshot of a slot can be read under.

use tokio_postgres::{Client, Error};

/// Whether every transaction that the snapshot takes for committed is known to be so. Until it is,
/// nobody should read a table under it.
///
/// The slot knows of a commit from the log. A moment passes between the record and the note that
/// readers look up; who looks between the two takes the transaction for aborted, and would even
/// mark its rows so. `snapshot` is what `pg_current_snapshot()` says under it.
///
/// # Errors
/// When the source does not answer.
pub async fn has_settled(client: &Client, snapshot: &str) -> Result<bool, Error> {
    let row = client.query_one(SETTLED, &[&in_order(snapshot)]).await?;
    Ok(row.get(0))
}

const SETTLED: &str = "
select pg_snapshot_xmax(s) <= pg_snapshot_xmax(pg_current_snapshot())
       and not exists (select from pg_snapshot_xip(pg_current_snapshot()) as xid
                        where pg_visible_in_snapshot(xid, s))
  from (select $1::text::pg_snapshot as s) as given";

/// A snapshot made from the log may have its `xmin` behind its `xmax`, since all before `xmin` is
/// taken for committed. Postgres does not read that as the `pg_snapshot` that it wrote.
fn in_order(snapshot: &str) -> String {
    let mut parts = snapshot.splitn(3, ':');
    let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok());
    match (number(), number()) {
        (Some(xmin), Some(xmax)) if xmin > xmax => format!("{xmin}:{xmin}:"),
        _ => snapshot.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::in_order;

    #[test]
    fn a_snapshot_whose_limits_cross_can_be_read() {
        assert_eq!(in_order("33167:33163:"), "33167:33167:");
        assert_eq!(in_order("10:20:12,15"), "10:20:12,15");
        assert_eq!(in_order("10:10:"), "10:10:");
    }
}
