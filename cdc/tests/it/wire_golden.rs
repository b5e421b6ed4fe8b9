//! Decodes what a real Postgres sent (`tests/golden`).

use std::collections::HashMap;
use std::fmt::Write;

use cdc::wire::copy::CopyDecoder;
use cdc::wire::pgoutput::{Framing, Insert, KeyColumn, Message, OldTuple, decode};
use cdc::wire::{Column, Oid, PgTimestamp, TupleData, Xid};
use change::Lsn;

#[test]
fn protocol_1_has_every_message() {
    check("changes");
}

#[test]
fn protocol_1_as_text_and_with_an_origin() {
    check("text");
}

#[test]
fn protocol_2_streams_transactions_in_progress() {
    check("stream");
}

#[test]
fn protocol_3_has_two_phase_commit() {
    check("two_phase");
}

#[test]
fn binary_copy_is_rows() {
    let mut text = String::new();
    for line in golden("copy.txt").lines() {
        let mut decoder = CopyDecoder::default();
        decoder.push(&unhex(line));
        while let Some(row) = decoder.next_tuple().unwrap() {
            writeln!(text, "row{}", tuple(&row)).unwrap();
        }
        decoder.finish().unwrap();
        text.push_str("end\n");
    }
    assert_eq!(text, golden("copy.expected"));
}

/// A message shortened by any number of bytes is an error, or (StreamAbort) another message; never
/// a panic.
#[test]
fn every_truncation_is_refused() {
    for name in ["changes", "text", "stream", "two_phase"] {
        let capture = golden(&format!("{name}.txt"));
        let mut framing = Framing::Plain;
        for captured in capture.lines().map(Captured::parse) {
            for end in 0..captured.message.len() {
                decode(&captured.message[..end], framing).unwrap_err();
            }
            framing = follow(
                framing,
                &decode(&captured.message, framing).unwrap().message,
            );
        }
    }
}

#[track_caller]
fn check(name: &str) {
    let mut reader = Reader::default();
    let mut text = String::new();
    let mut framing = Framing::Plain;
    for captured in golden(&format!("{name}.txt")).lines().map(Captured::parse) {
        let framed = decode(&captured.message, framing).unwrap();
        captured.confirms(&framed.message);
        if let Some(xid) = framed.xid {
            let writer = if xid == captured.xid { "top" } else { "sub" };
            write!(text, "{writer} ").unwrap();
        }
        writeln!(text, "{}", reader.text(&framed.message)).unwrap();
        framing = follow(framing, &framed.message);
    }
    assert_eq!(text, golden(&format!("{name}.expected")));
}

fn follow(framing: Framing, message: &Message<'_>) -> Framing {
    match message {
        Message::StreamStart(_) => Framing::InStream,
        Message::StreamStop => Framing::Plain,
        _ => framing,
    }
}

/// A line of a capture: what Postgres says of the message, and the message.
struct Captured {
    lsn: Lsn,
    xid: Xid,
    commit_time: Option<PgTimestamp>,
    message: Vec<u8>,
}

impl Captured {
    fn parse(line: &str) -> Self {
        let fields: Vec<&str> = line.split('|').collect();
        let [lsn, xid, commit_unix_micros, message] = fields[..] else {
            panic!("not a capture: {line}");
        };
        let commit_time = (!commit_unix_micros.is_empty())
            .then(|| PgTimestamp::from_unix_micros(commit_unix_micros.parse().unwrap()));
        Self {
            lsn: lsn.parse().unwrap(),
            xid: Xid(xid.parse().unwrap()),
            commit_time,
            message: unhex(message),
        }
    }

    /// Postgres' own account of position, id and time is the oracle for ours.
    fn confirms(&self, message: &Message<'_>) {
        match message {
            Message::Begin(begin) => {
                assert_eq!(begin.xid, self.xid);
                assert_eq!(Some(begin.commit_time), self.commit_time);
                assert!(begin.final_lsn >= self.lsn);
            }
            Message::Commit(commit) => {
                assert_eq!(commit.end_lsn, self.lsn);
                assert_eq!(Some(commit.commit_time), self.commit_time);
                assert!(commit.commit_lsn < commit.end_lsn);
            }
            Message::LogicalMessage(message) => assert_eq!(message.lsn, self.lsn),
            Message::StreamStart(start) => assert_eq!(start.xid, self.xid),
            Message::StreamCommit(commit) => {
                assert_eq!(commit.xid, self.xid);
                assert_eq!(commit.end_lsn, self.lsn);
                assert_eq!(Some(commit.commit_time), self.commit_time);
            }
            Message::StreamAbort(abort) => assert_eq!(abort.subxid, self.xid),
            Message::BeginPrepare(begin) => assert_eq!(begin.xid, self.xid),
            Message::Prepare(prepare) | Message::StreamPrepare(prepare) => {
                assert_eq!(prepare.xid, self.xid);
                assert_eq!(prepare.end_lsn, self.lsn);
            }
            Message::CommitPrepared(commit) => {
                assert_eq!(commit.xid, self.xid);
                assert_eq!(commit.end_lsn, self.lsn);
                assert_eq!(Some(commit.commit_time), self.commit_time);
            }
            Message::RollbackPrepared(rollback) => {
                assert_eq!(rollback.xid, self.xid);
                assert_eq!(rollback.rollback_end_lsn, self.lsn);
                assert!(rollback.prepare_time < rollback.rollback_time);
            }
            Message::Origin(_)
            | Message::Relation(_)
            | Message::Type(_)
            | Message::Insert(_)
            | Message::Update(_)
            | Message::Delete(_)
            | Message::Truncate(_)
            | Message::StreamStop => {}
        }
    }
}

/// Puts messages into words; the names of relations and types come from earlier messages, as the
/// oids are different in every database.
#[derive(Default)]
struct Reader {
    names: HashMap<Oid, String>,
}

impl Reader {
    fn text(&mut self, message: &Message<'_>) -> String {
        match message {
            Message::Begin(_) => "begin".to_owned(),
            Message::Commit(_) => "commit".to_owned(),
            Message::LogicalMessage(m) => {
                let content = String::from_utf8_lossy(m.content);
                format!("message {:?} {} {content:?}", m.timing, m.prefix)
            }
            Message::Origin(o) => format!("origin {} {}", o.name, o.commit_lsn),
            Message::Relation(r) => {
                let columns = r.columns.iter().map(|column| {
                    let key = match column.key {
                        KeyColumn::Yes => "*",
                        KeyColumn::No => "",
                    };
                    let type_name = self.name(column.type_oid);
                    format!("{key}{} {type_name} {}", column.name, column.type_modifier)
                });
                let columns = columns.collect::<Vec<_>>().join(", ");
                let name = format!("{}.{}", r.namespace, r.name);
                self.names.insert(r.oid, name.clone());
                format!("relation {name} {:?} ({columns})", r.replica_identity)
            }
            Message::Type(t) => {
                let name = format!("{}.{}", t.namespace, t.name);
                self.names.insert(t.oid, name.clone());
                format!("type {name}")
            }
            Message::Insert(Insert { relation, new }) => {
                format!("insert {}{}", self.name(*relation), tuple(new))
            }
            Message::Update(u) => {
                let old = u.old.map(|old| old_tuple(&old)).unwrap_or_default();
                format!("update {}{old} to{}", self.name(u.relation), tuple(&u.new))
            }
            Message::Delete(d) => format!("delete {}{}", self.name(d.relation), old_tuple(&d.old)),
            Message::Truncate(t) => {
                let names: Vec<_> = t.relations.iter().map(|oid| self.name(*oid)).collect();
                let cascade = if t.cascade { " cascade" } else { "" };
                let restart = if t.restart_identity {
                    " restart identity"
                } else {
                    ""
                };
                format!("truncate {}{restart}{cascade}", names.join(", "))
            }
            Message::StreamStart(s) => format!("stream start {:?}", s.segment),
            Message::StreamStop => "stream stop".to_owned(),
            Message::StreamCommit(_) => "stream commit".to_owned(),
            Message::StreamAbort(a) => {
                let what = if a.subxid == a.xid { "top" } else { "sub" };
                format!("stream abort {what} {:?}", a.point)
            }
            Message::BeginPrepare(p) => format!("begin prepare {}", p.gid),
            Message::Prepare(p) => format!("prepare {}", p.gid),
            Message::CommitPrepared(p) => format!("commit prepared {}", p.gid),
            Message::RollbackPrepared(p) => format!("rollback prepared {}", p.gid),
            Message::StreamPrepare(p) => format!("stream prepare {}", p.gid),
        }
    }

    fn name(&self, oid: Oid) -> String {
        self.names
            .get(&oid)
            .cloned()
            .unwrap_or_else(|| oid.to_string())
    }
}

fn old_tuple(old: &OldTuple<'_>) -> String {
    match old {
        OldTuple::Key(key) => format!(" key{}", tuple(key)),
        OldTuple::Full(full) => format!(" full{}", tuple(full)),
    }
}

fn tuple(row: &TupleData<'_>) -> String {
    row.iter()
        .map(|column| match column {
            Column::Null => " null".to_owned(),
            Column::UnchangedToast => " unchanged".to_owned(),
            Column::Text(text) => format!(" text:{:?}", String::from_utf8_lossy(text)),
            Column::Binary(value) if value.len() > 50 => format!(" {} bytes", value.len()),
            Column::Binary(value) => format!(" '{}'", value.escape_ascii()),
        })
        .collect()
}

fn golden(name: &str) -> String {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap())
        .collect();
    digits
        .as_chunks()
        .0
        .iter()
        .map(|[high, low]| high << 4 | low)
        .collect()
}
