//! Streaming from a real server.

use std::time::Duration;

use cdc::source::{Event, ReplicationStream};
use cdc::wire::pgoutput::{Framing, Message, decode};
use cdc::wire::replication::Reply;
use cdc::wire::{Column, Xid};
use change::Lsn;
use futures_util::FutureExt;
use testkit::wait;

use crate::source_fixture::{Decoder, Fixture, next_message, within};

#[tokio::test]
async fn a_commit_arrives_in_binary_and_is_confirmed() {
    let fixture = Fixture::new("create table t (id int primary key, name text)").await;
    fixture.create_slot().await;
    let mut stream = fixture.stream().await;
    fixture
        .client
        .batch_execute("insert into t values (7, 'seven')")
        .await
        .unwrap();

    let mut decoder = Decoder::default();
    let mut rows = 0;
    let end_lsn = loop {
        let message = next_message(&mut stream).await.unwrap();
        match decoder.decode(&message).message {
            Message::Insert(insert) => {
                let columns: Vec<_> = insert.new.iter().collect();
                assert_eq!(
                    columns,
                    [Column::Binary(&[0, 0, 0, 7]), Column::Binary(b"seven")]
                );
                rows += 1;
            }
            Message::Commit(commit) => break commit.end_lsn,
            _ => {}
        }
    };
    assert_eq!(rows, 1);
    within(stream.status(end_lsn, Reply::NotNeeded))
        .await
        .unwrap();
    wait::until("the position is confirmed", async || {
        match confirmed(&fixture).await {
            lsn if lsn == end_lsn => Ok(()),
            lsn => Err(lsn),
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_not_confirmed_is_sent_again() {
    let fixture = Fixture::new("create table t (id int primary key)").await;
    fixture.create_slot().await;
    let insert = "insert into t values (1)";
    fixture.client.batch_execute(insert).await.unwrap();
    for _ in 0..2 {
        let mut stream = fixture.stream().await;
        assert_eq!(inserts_of_one_transaction(&mut stream).await, 1);
        // The slot is free again when the server has ended the stream.
        within(stream.finish()).await.unwrap();
    }
}

#[tokio::test]
async fn a_request_for_a_reply_is_answered_by_a_keepalive() {
    let fixture = Fixture::new("").await;
    fixture.create_slot().await;
    let mut stream = fixture.stream().await;
    // The first one comes by itself, at the start.
    loop {
        within(stream.status(Lsn::ZERO, Reply::Requested))
            .await
            .unwrap();
        let Event::Keepalive(keepalive) = within(stream.next()).await.unwrap() else {
            panic!("nothing was written to a published table");
        };
        assert_eq!(keepalive.wal_end, stream.received_lsn());
        if keepalive.wal_end >= confirmed(&fixture).await {
            break;
        }
    }
}

/// Every poll that comes too early is dropped, and so is every status update that does not go out
/// at once.
#[tokio::test]
async fn dropped_futures_lose_nothing() {
    const ROWS: usize = 20_000;
    let fixture = Fixture::new("create table t (id int primary key, filler text)").await;
    fixture.create_slot().await;
    let sql = format!(
        "insert into t select i, repeat('x', i % 200) from generate_series(0, {}) i",
        ROWS - 1
    );
    fixture.client.batch_execute(&sql).await.unwrap();

    let mut stream = fixture.stream().await;
    let mut decoder = Decoder::default();
    let mut next_id = 0;
    loop {
        let _ = stream.status(Lsn::ZERO, Reply::Requested).now_or_never();
        let event = match stream.next().now_or_never() {
            Some(event) => event.unwrap(),
            None => match tokio::time::timeout(Duration::from_micros(50), stream.next()).await {
                Ok(event) => event.unwrap(),
                Err(_) => continue,
            },
        };
        let Event::XLogMessage(message) = event else {
            continue;
        };
        match decoder.decode(&message).message {
            Message::Insert(insert) => {
                let id = i32::try_from(next_id).unwrap().to_be_bytes();
                assert_eq!(insert.new.iter().next(), Some(Column::Binary(&id)));
                next_id += 1;
            }
            Message::Commit(_) | Message::StreamCommit(_) => break,
            _ => {}
        }
    }
    assert_eq!(next_id, ROWS);
}

#[tokio::test]
async fn a_row_of_many_megabytes_is_one_message() {
    const LENGTH: usize = 40_000_000;
    let fixture = Fixture::new("create table t (id int primary key, big bytea)").await;
    fixture.create_slot().await;
    let sql = format!("insert into t values (1, decode(repeat('ab', {LENGTH}), 'hex'))");
    fixture.client.batch_execute(&sql).await.unwrap();
    let mut stream = fixture.stream().await;
    let mut decoder = Decoder::default();
    loop {
        let message = next_message(&mut stream).await.unwrap();
        if let Message::Insert(insert) = decoder.decode(&message).message {
            let Some(Column::Binary(big)) = insert.new.iter().nth(1) else {
                panic!("no value");
            };
            assert_eq!(big.len(), LENGTH);
            assert!(big.iter().all(|byte| *byte == 0xab));
            return;
        }
    }
}

/// What a subtransaction announces (Relation, Type) may be dropped with it: after its rollback the
/// server announces again what it still needs.
#[tokio::test]
async fn after_a_rollback_in_a_stream_relations_are_announced_again() {
    let fixture =
        Fixture::new("create table t (id int primary key); create table ballast (filler text)")
            .await;
    let alter = format!(
        "alter database {} set logical_decoding_work_mem = '64kB'",
        fixture.database.name()
    );
    fixture.client.batch_execute(&alter).await.unwrap();
    let publication = "drop publication everything; create publication everything for table t";
    fixture.client.batch_execute(publication).await.unwrap();
    fixture.create_slot().await;
    let mut stream = fixture.stream().await;
    let ballast = "insert into ballast select repeat('x', 2000) from generate_series(1, 50)";

    let first = format!("begin; savepoint s; insert into t values (1); {ballast}");
    fixture.client.batch_execute(&first).await.unwrap();
    // The subtransaction is in progress while it is streamed.
    let mut seen = Seen::default();
    while seen.last() != "stream stop" {
        seen.read(&mut stream).await;
    }
    let second = format!("rollback to s; release s; insert into t values (2); {ballast}; commit");
    fixture.client.batch_execute(&second).await.unwrap();
    while seen.last() != "stream commit" {
        seen.read(&mut stream).await;
    }
    seen.kinds
        .retain(|kind| !["stream start", "stream stop"].contains(&kind.as_str()));
    assert_eq!(
        seen.kinds,
        [
            "sub relation",
            "sub insert",
            "abort sub",
            "top relation",
            "top insert",
            "stream commit"
        ]
    );
}

/// The kinds of the messages of one streamed transaction.
#[derive(Default)]
struct Seen {
    decoder: Decoder,
    top: Option<Xid>,
    kinds: Vec<String>,
}

impl Seen {
    fn last(&self) -> &str {
        self.kinds.last().map(String::as_str).unwrap_or_default()
    }

    async fn read(&mut self, stream: &mut ReplicationStream) {
        let message = next_message(stream).await.unwrap();
        let framed = self.decoder.decode(&message);
        let writer = match framed.xid {
            None => "",
            xid if xid == self.top => "top ",
            Some(_) => "sub ",
        };
        let kind = match framed.message {
            Message::StreamStart(start) => {
                self.top = Some(start.xid);
                "stream start"
            }
            Message::StreamStop => "stream stop",
            Message::StreamAbort(abort) if abort.subxid != abort.xid => "abort sub",
            Message::StreamCommit(_) => "stream commit",
            Message::Relation(_) => "relation",
            Message::Insert(_) => "insert",
            other => panic!("{other:?}"),
        };
        self.kinds.push(format!("{writer}{kind}"));
    }
}

/// Reads up to a commit and counts the rows inserted.
async fn inserts_of_one_transaction(stream: &mut ReplicationStream) -> usize {
    let mut inserts = 0;
    loop {
        let message = next_message(stream).await.unwrap();
        match decode(&message.data, Framing::Plain).unwrap().message {
            Message::Insert(_) => inserts += 1,
            Message::Commit(_) => return inserts,
            _ => {}
        }
    }
}

async fn confirmed(fixture: &Fixture) -> Lsn {
    let sql = "select confirmed_flush_lsn::text from pg_replication_slots where slot_name = $1";
    let row = fixture
        .client
        .query_one(sql, &[&fixture.slot.as_str()])
        .await
        .unwrap();
    row.get::<_, &str>(0).parse().unwrap()
}
