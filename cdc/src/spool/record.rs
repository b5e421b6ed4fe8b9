//! One message in a buffer or file: length, writer, content. The length is that of the content.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::error::SpoolError;
use crate::wire::Xid;

/// Two numbers of four bytes.
const HEADER_BYTES: usize = 8;

/// A message with its writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) subxid: Xid,
    pub(super) message: Bytes,
}

/// Returns the number of bytes written.
pub(super) fn write(subxid: Xid, message: &[u8], out: &mut BytesMut) -> Result<usize, SpoolError> {
    let length = u32::try_from(message.len()).map_err(|_| SpoolError::TooLong {
        length: message.len(),
    })?;
    out.put_u32(length);
    out.put_u32(subxid.0);
    out.put_slice(message);
    Ok(HEADER_BYTES + message.len())
}

/// Takes the first record, or says how many bytes it needs.
pub(super) fn read(input: &mut BytesMut) -> Result<Record, Incomplete> {
    let mut header = &input[..];
    let (Ok(length), Ok(subxid)) = (header.try_get_u32(), header.try_get_u32()) else {
        return Err(Incomplete {
            needed: HEADER_BYTES,
        });
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let needed = HEADER_BYTES.saturating_add(length);
    if input.len() < needed {
        return Err(Incomplete { needed });
    }
    input.advance(HEADER_BYTES);
    Ok(Record {
        subxid: Xid(subxid),
        message: input.split_to(length).freeze(),
    })
}

/// How many bytes the first record has, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Incomplete {
    pub(super) needed: usize,
}
