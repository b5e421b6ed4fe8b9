//! From the stream through the spool to the same rows as the source has.

use std::collections::HashMap;

use cdc::source::ReplicationStream;
use cdc::spool::{Memory, Spool};
use cdc::wire::pgoutput::{Framing, Message, OldTuple, decode};
use cdc::wire::replication::Reply;
use cdc::wire::{Column, TupleData, Xid};
use change::Lsn;
use tempfile::TempDir;

use crate::source_fixture::{Fixture, next_message, within};

/// Transactions of many subtransactions (each exception block is one), of which some are rolled
/// back, in whole or in part.
const STORM: &str = "
create table t (id int primary key, v text);
create procedure storm(worker int) language plpgsql as $$
begin
    perform setseed(worker / 10.0);
    for round in 1..10 loop
        for part in 1..8 loop
            begin
                insert into t
                    select worker * 1000000 + round * 10000 + part * 1000 + i, repeat(md5(i::text), 20)
                    from generate_series(1, (random() * 60)::int) i;
                update t set v = v || 'x' where abs(id) / 1000000 = worker and random() < 0.1;
                update t set id = -id where id / 1000000 = worker and random() < 0.02;
                delete from t where abs(id) / 1000000 = worker and random() < 0.05;
                if random() < 0.3 then
                    raise exception 'changed my mind';
                end if;
            exception when raise_exception then
            end;
        end loop;
        if random() < 0.25 then
            rollback;
        else
            commit;
        end if;
    end loop;
end $$;
";

#[tokio::test]
async fn transactions_that_take_turns_end_in_the_rows_of_the_source() {
    let fixture = Fixture::new(STORM).await;
    let alter = format!(
        "alter database {} set logical_decoding_work_mem = '64kB'",
        fixture.database.name()
    );
    fixture.client.batch_execute(&alter).await.unwrap();
    fixture.create_slot().await;
    let mut stream = fixture.stream().await;
    let mut copy = Copy::new();
    let ((), ()) = tokio::join!(write(&fixture), copy.follow(&mut stream));

    let rows = fixture
        .client
        .query("select id, v from t", &[])
        .await
        .unwrap();
    let rows: HashMap<i32, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert!(!rows.is_empty());
    assert_eq!(copy.rows, rows);
    assert!(copy.streamed_commits > 0);
    assert!(copy.aborts > 0);
    assert_eq!(copy.spool.usage().transactions, 0);
}

async fn write(fixture: &Fixture) {
    let worker = async |number: u32| {
        let client = fixture.database.client().await;
        let call = format!("call storm({number})");
        client.batch_execute(&call).await.unwrap();
    };
    tokio::join!(worker(1), worker(2), worker(3), worker(4));
    let end = "select pg_logical_emit_message(true, 'end', '')";
    fixture.client.simple_query(end).await.unwrap();
}

/// The table as the stream tells it.
struct Copy {
    spool: Spool,
    _directory: TempDir,
    segment: Option<Xid>,
    rows: HashMap<i32, String>,
    streamed_commits: usize,
    aborts: usize,
    ended: bool,
}

impl Copy {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        // Some of it to files, some not.
        let memory = Memory {
            per_transaction: 30_000,
            total: 60_000,
        };
        Self {
            spool: Spool::open(directory.path(), memory).unwrap(),
            _directory: directory,
            segment: None,
            rows: HashMap::new(),
            streamed_commits: 0,
            aborts: 0,
            ended: false,
        }
    }

    async fn follow(&mut self, stream: &mut ReplicationStream) {
        while !self.ended {
            let message = next_message(stream).await.unwrap();
            self.take(&message.data).await;
            within(stream.status(Lsn::ZERO, Reply::NotNeeded))
                .await
                .unwrap();
        }
    }

    async fn take(&mut self, data: &[u8]) {
        let framing = match self.segment {
            Some(_) => Framing::InStream,
            None => Framing::Plain,
        };
        let framed = decode(data, framing).unwrap();
        match (self.segment, framed.message) {
            (Some(_), Message::StreamStop) => self.segment = None,
            (Some(xid), _) => {
                let writer = framed.xid.unwrap();
                self.spool.append(xid, writer, data).await.unwrap();
            }
            (None, Message::StreamStart(start)) => self.segment = Some(start.xid),
            (None, Message::StreamAbort(abort)) => {
                self.spool.abort(abort.xid, abort.subxid).unwrap();
                self.aborts += 1;
            }
            (None, Message::StreamCommit(commit)) => {
                let mut replay = self.spool.commit(commit.xid).unwrap();
                while let Some(data) = replay.next().await.unwrap() {
                    self.apply(&decode(&data, Framing::InStream).unwrap().message);
                }
                self.streamed_commits += 1;
            }
            (None, message) => self.apply(&message),
        }
    }

    fn apply(&mut self, message: &Message<'_>) {
        match message {
            Message::Insert(insert) => self.insert(&insert.new),
            Message::Update(update) => {
                let old = match update.old {
                    Some(OldTuple::Key(key)) => id(&key),
                    Some(OldTuple::Full(_)) => panic!("the identity is the key"),
                    None => id(&update.new),
                };
                assert!(self.rows.remove(&old).is_some(), "update of a missing row");
                self.insert(&update.new);
            }
            Message::Delete(delete) => {
                let OldTuple::Key(key) = delete.old else {
                    panic!("the identity is the key");
                };
                assert!(
                    self.rows.remove(&id(&key)).is_some(),
                    "delete of a missing row"
                );
            }
            Message::LogicalMessage(_) => self.ended = true,
            _ => {}
        }
    }

    fn insert(&mut self, row: &TupleData<'_>) {
        let Some(Column::Binary(v)) = row.iter().nth(1) else {
            panic!("values are small, and never null");
        };
        let v = String::from_utf8(v.to_vec()).unwrap();
        assert!(
            self.rows.insert(id(row), v).is_none(),
            "insert of a known row"
        );
    }
}

fn id(row: &TupleData<'_>) -> i32 {
    let Some(Column::Binary(id)) = row.iter().next() else {
        panic!("keys are binary");
    };
    i32::from_be_bytes(id.try_into().unwrap())
}
