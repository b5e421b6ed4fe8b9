//! Types whose image is one number or two: pg_lsn, xid, xid8, cid, tid and "char".

use super::{digits, take};
use crate::Lsn;

pub(super) fn lsn_to_text(image: &[u8]) -> Option<String> {
    let byte = u64::from_be_bytes(image.try_into().ok()?);
    Some(Lsn::new(byte).to_string())
}

pub(super) fn lsn_from_text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let lsn: Lsn = text.parse().ok()?;
    out.extend(lsn.as_u64().to_be_bytes());
    Some(())
}

pub(super) fn u32_to_text(image: &[u8]) -> Option<String> {
    Some(u32::from_be_bytes(image.try_into().ok()?).to_string())
}

pub(super) fn u32_from_text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    out.extend(digits::<u32>(text)?.to_be_bytes());
    Some(())
}

pub(super) fn u64_to_text(image: &[u8]) -> Option<String> {
    Some(u64::from_be_bytes(image.try_into().ok()?).to_string())
}

pub(super) fn u64_from_text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    out.extend(digits::<u64>(text)?.to_be_bytes());
    Some(())
}

/// Block and place in it.
pub(super) fn tid_to_text(image: &[u8]) -> Option<String> {
    let mut rest = image;
    let block = u32::from_be_bytes(take(&mut rest)?);
    let place = u16::from_be_bytes(take(&mut rest)?);
    rest.is_empty().then(|| format!("({block},{place})"))
}

pub(super) fn tid_from_text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let inner = text.strip_prefix('(')?.strip_suffix(')')?;
    let (block, place) = inner.split_once(',')?;
    out.extend(digits::<u32>(block)?.to_be_bytes());
    out.extend(digits::<u16>(place)?.to_be_bytes());
    Some(())
}

/// Zero prints as nothing. Bytes above 127 get a text here that is refused on the way back, so that
/// they travel as their image: Postgres 15 prints the byte itself, 16 its octal number.
pub(super) fn char_to_text(image: &[u8]) -> Option<String> {
    match image {
        [0] => Some(String::new()),
        [byte] => Some(char::from(*byte).to_string()),
        _ => None,
    }
}

pub(super) fn char_from_text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    match text.as_bytes() {
        [] => out.push(0),
        [byte] => out.push(*byte),
        _ => return None,
    }
    Some(())
}
