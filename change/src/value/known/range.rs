//! Ranges and multiranges. Layout of `range_send`: a byte of flags, then each bound there is as its
//! length and its element's image. A multirange is the number of its ranges, then each as its length
//! and its image.

use super::{Element, calendar, put_part, take, take_part};
use crate::value::numeric;

/// `rangetypes.h`.
const EMPTY: u8 = 0x01;
const LOWER_INCLUSIVE: u8 = 0x02;
const UPPER_INCLUSIVE: u8 = 0x04;
const LOWER_INFINITE: u8 = 0x08;
const UPPER_INFINITE: u8 = 0x10;

pub(super) fn to_text(element: Element, image: &[u8]) -> Option<String> {
    let mut rest = image;
    let [flags] = take(&mut rest)?;
    if flags & EMPTY != 0 {
        return rest.is_empty().then(|| "empty".to_owned());
    }
    let has = |flag| flags & flag != 0;
    let mut text = String::from(if has(LOWER_INCLUSIVE) { '[' } else { '(' });
    if !has(LOWER_INFINITE) {
        text.push_str(&bound_to_text(element, take_part(&mut rest)?)?);
    }
    text.push(',');
    if !has(UPPER_INFINITE) {
        text.push_str(&bound_to_text(element, take_part(&mut rest)?)?);
    }
    text.push(if has(UPPER_INCLUSIVE) { ']' } else { ')' });
    rest.is_empty().then_some(text)
}

pub(super) fn from_text(element: Element, text: &str, out: &mut Vec<u8>) -> Option<()> {
    if text == "empty" {
        out.push(EMPTY);
        return Some(());
    }
    let mut flags = 0;
    let inner = match text.strip_prefix('[') {
        Some(inner) => {
            flags |= LOWER_INCLUSIVE;
            inner
        }
        None => text.strip_prefix('(')?,
    };
    let inner = match inner.strip_suffix(']') {
        Some(inner) => {
            flags |= UPPER_INCLUSIVE;
            inner
        }
        None => inner.strip_suffix(')')?,
    };
    // No element prints a comma.
    let (lower, upper) = inner.split_once(',')?;
    if lower.is_empty() {
        flags |= LOWER_INFINITE;
    }
    if upper.is_empty() {
        flags |= UPPER_INFINITE;
    }
    out.push(flags);
    for bound in [lower, upper] {
        if !bound.is_empty() {
            put_part(out, |part| bound_from_text(element, bound, part))?;
        }
    }
    Some(())
}

pub(super) fn multi_to_text(element: Element, image: &[u8]) -> Option<String> {
    let mut rest = image;
    let count = u32::from_be_bytes(take(&mut rest)?);
    let mut text = String::from('{');
    // Ends at the image's end, whatever the count claims.
    for place in 0..count {
        if place > 0 {
            text.push(',');
        }
        text.push_str(&to_text(element, take_part(&mut rest)?)?);
    }
    text.push('}');
    rest.is_empty().then_some(text)
}

pub(super) fn multi_from_text(element: Element, text: &str, out: &mut Vec<u8>) -> Option<()> {
    let mut rest = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut count = 0_u32;
    let mut ranges = Vec::new();
    while !rest.is_empty() {
        // No element prints a parenthesis or a bracket, so the first one that closes ends the range.
        let end = rest.find([']', ')'])? + 1;
        let (range, after) = rest.split_at_checked(end)?;
        put_part(&mut ranges, |part| from_text(element, range, part))?;
        count = count.checked_add(1)?;
        rest = match after.strip_prefix(',') {
            Some("") => return None,
            Some(next) => next,
            None if after.is_empty() => after,
            None => return None,
        };
    }
    out.extend(count.to_be_bytes());
    out.extend(ranges);
    Some(())
}

/// `range_bound_escape` quotes what has a space in it, which timestamps and years BC have; quotes
/// and backslashes no element prints.
fn bound_to_text(element: Element, image: &[u8]) -> Option<String> {
    let text = match element {
        Element::Int4 => i32::from_be_bytes(image.try_into().ok()?).to_string(),
        Element::Int8 => i64::from_be_bytes(image.try_into().ok()?).to_string(),
        Element::Numeric => numeric::to_text(image).ok()?,
        Element::Date => calendar::date_to_text(image)?,
        Element::Timestamp => calendar::timestamp_to_text(image, calendar::PLAIN)?,
        Element::TimestampTz => calendar::timestamp_to_text(image, calendar::UTC)?,
    };
    Some(if text.contains(' ') {
        format!("\"{text}\"")
    } else {
        text
    })
}

fn bound_from_text(element: Element, bound: &str, out: &mut Vec<u8>) -> Option<()> {
    let text = match bound.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?,
        None => bound,
    };
    match element {
        Element::Int4 => out.extend(text.parse::<i32>().ok()?.to_be_bytes()),
        Element::Int8 => out.extend(text.parse::<i64>().ok()?.to_be_bytes()),
        Element::Numeric => numeric::from_text(text, out).ok()?,
        Element::Date => calendar::date_from_text(text, out)?,
        Element::Timestamp => calendar::timestamp_from_text(text, calendar::PLAIN, out)?,
        Element::TimestampTz => calendar::timestamp_from_text(text, calendar::UTC, out)?,
    }
    Some(())
}
