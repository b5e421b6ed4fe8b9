//! No input makes a decoder panic, or take memory that the input does not pay for.

use cdc::wire::copy::CopyDecoder;
use cdc::wire::pgoutput::{Framing, Message, decode};
use cdc::wire::replication;
use cdc::wire::{TupleData, WireError};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::sample::select;

/// Bytes that begin as a message does, with many that are legal somewhere inside one: what is
/// wholly random would stop at the first byte.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let kind = select(b"BMCORYIUDTSEcAbPKrpwk".as_slice());
    let byte = prop_oneof![
        4 => Just(0),
        2 => 1_u8..=4,
        2 => select(b"NKOnutbdfi".as_slice()),
        1 => any::<u8>(),
    ];
    (kind, vec(byte, 0..200)).prop_map(|(kind, mut rest)| {
        rest.insert(0, kind);
        rest
    })
}

proptest! {
    #[test]
    fn pgoutput_takes_anything(message in prop_oneof![message(), vec(any::<u8>(), 0..100)]) {
        for framing in [Framing::Plain, Framing::InStream] {
            if let Ok(framed) = decode(&message, framing) {
                check_size(&framed.message, message.len());
            }
        }
    }

    #[test]
    fn frames_take_anything(message in prop_oneof![message(), vec(any::<u8>(), 0..100)]) {
        let _ = replication::decode(&message);
    }

    /// A stream that begins well comes to the same end however it is cut.
    #[test]
    fn copy_takes_anything_in_any_chunks(
        body in prop_oneof![message(), vec(any::<u8>(), 0..200)],
        size in 1_usize..40,
    ) {
        let mut stream = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
        stream.extend(body);
        let whole = rows(&stream, stream.len());
        let cut = rows(&stream, size);
        assert_eq!(whole, cut);
    }
}

/// What was kept is no longer than the input: every element stands for at least four bytes of it.
#[track_caller]
fn check_size(message: &Message<'_>, length: usize) {
    match message {
        Message::Relation(relation) => assert!(relation.columns.len() * 10 <= length),
        Message::Truncate(truncate) => assert!(truncate.relations.len() * 4 <= length),
        Message::Insert(insert) => check_columns(&insert.new, length),
        Message::Update(update) => check_columns(&update.new, length),
        _ => {}
    }
}

/// All columns that were promised come.
#[track_caller]
fn check_columns(tuple: &TupleData<'_>, length: usize) {
    assert_eq!(tuple.iter().count(), tuple.len());
    assert!(tuple.len() <= length);
}

/// The number of columns of each row, and how the stream ended.
fn rows(stream: &[u8], size: usize) -> (Vec<usize>, Result<(), WireError>) {
    let mut decoder = CopyDecoder::default();
    let mut rows = Vec::new();
    for chunk in stream.chunks(size) {
        decoder.push(chunk);
        loop {
            match decoder.next_tuple() {
                Ok(Some(tuple)) => rows.push(tuple.iter().count()),
                Ok(None) => break,
                Err(error) => return (rows, Err(error)),
            }
        }
    }
    (rows, decoder.finish())
}
