//! Geometric types: images are float8s, in a path and a polygon after the number of points.

use super::{float, take};

pub(super) fn point_to_text(image: &[u8]) -> Option<String> {
    all(image, point)
}

pub(super) fn point_from_text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    put_points(text, 1, out)
}

pub(super) fn lseg_to_text(image: &[u8]) -> Option<String> {
    all(image, |rest| points(rest, 2)).map(|points| format!("[{points}]"))
}

pub(super) fn lseg_from_text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    put_points(between(text, "[", "]")?, 2, out)
}

pub(super) fn box_to_text(image: &[u8]) -> Option<String> {
    all(image, |rest| points(rest, 2))
}

pub(super) fn box_from_text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    put_points(text, 2, out)
}

pub(super) fn line_to_text(image: &[u8]) -> Option<String> {
    all(image, |rest| {
        let (a, b, c) = (number(rest)?, number(rest)?, number(rest)?);
        Some(format!("{{{a},{b},{c}}}"))
    })
}

pub(super) fn line_from_text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    put_numbers(between(text, "{", "}")?, 3, out)
}

pub(super) fn circle_to_text(image: &[u8]) -> Option<String> {
    all(image, |rest| {
        Some(format!("<{},{}>", point(rest)?, number(rest)?))
    })
}

pub(super) fn circle_from_text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let (center, radius) = between(text, "<", ">")?.rsplit_once(',')?;
    put_points(center, 1, out)?;
    put_numbers(radius, 1, out)
}

/// A path starts with whether it is closed.
pub(super) fn path_to_text(image: &[u8]) -> Option<String> {
    let mut rest = image;
    let closed = take::<1>(&mut rest)? != [0];
    let points = counted_points(rest)?;
    Some(if closed {
        format!("({points})")
    } else {
        format!("[{points}]")
    })
}

pub(super) fn path_from_text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let (closed, inner) = match between(text, "[", "]") {
        Some(inner) => (0, inner),
        None => (1, between(text, "(", ")")?),
    };
    out.push(closed);
    put_counted_points(inner, out)
}

pub(super) fn polygon_to_text(image: &[u8]) -> Option<String> {
    counted_points(image).map(|points| format!("({points})"))
}

pub(super) fn polygon_from_text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    put_counted_points(between(text, "(", ")")?, out)
}

fn counted_points(image: &[u8]) -> Option<String> {
    all(image, |rest| {
        let count = i32::from_be_bytes(take(rest)?);
        points(rest, usize::try_from(count).ok()?)
    })
}

fn put_counted_points(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let count = text.bytes().filter(|byte| *byte == b'(').count();
    out.extend(i32::try_from(count).ok()?.to_be_bytes());
    put_points(text, count, out)
}

/// What `read` makes of the whole image.
fn all(image: &[u8], read: impl FnOnce(&mut &[u8]) -> Option<String>) -> Option<String> {
    let mut rest = image;
    let text = read(&mut rest)?;
    rest.is_empty().then_some(text)
}

fn points(rest: &mut &[u8], count: usize) -> Option<String> {
    let mut text = String::new();
    // Ends at the image's end, whatever the count claims.
    for place in 0..count {
        if place > 0 {
            text.push(',');
        }
        text.push_str(&point(rest)?);
    }
    Some(text)
}

fn point(rest: &mut &[u8]) -> Option<String> {
    Some(format!("({},{})", number(rest)?, number(rest)?))
}

fn number(rest: &mut &[u8]) -> Option<String> {
    take(rest).map(|bytes| float::to_text(u64::from_be_bytes(bytes)))
}

fn put_points(text: &str, count: usize, out: &mut Vec<u8>) -> Option<()> {
    let points = between(text, "(", ")")?.split("),(");
    let mut found = 0;
    for point in points {
        put_numbers(point, 2, out)?;
        found += 1;
    }
    (found == count).then_some(())
}

fn put_numbers(text: &str, count: usize, out: &mut Vec<u8>) -> Option<()> {
    let mut found = 0;
    for number in text.split(',') {
        out.extend(float::from_text(number)?.to_be_bytes());
        found += 1;
    }
    (found == count).then_some(())
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    text.strip_prefix(open)?.strip_suffix(close)
}
