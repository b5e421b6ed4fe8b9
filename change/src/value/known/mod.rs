//! Built-in types that travel as the text Postgres prints for them.
//!
//! The text is that of Postgres 15 to 18 under DateStyle ISO, IntervalStyle postgres, TimeZone UTC
//! and extra_float_digits 1. Each family has one file with both directions; they answer `None` for
//! what is not theirs, and this module names the type in the error.
//!
//! Every text is read back before it is used: a NaN with a payload, a "char" above 127 and whatever
//! else prints as another value's text do not come back to their image, and so travel as that. These
//! types are rare in rows and their texts short, so being sure costs little.

mod bits;
pub(super) mod calendar;
pub(super) mod clock;
pub(super) mod float;
mod geometry;
mod network;
mod number;
mod range;
mod search;

use super::{Fit, ValueError};
use crate::avro::write_str;

/// A type whose text form travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    Inet,
    Cidr,
    Macaddr,
    Macaddr8,
    Bit,
    Varbit,
    Interval,
    TimeTz,
    PgLsn,
    Xid,
    Xid8,
    Cid,
    Tid,
    /// `"char"`, one byte.
    Char,
    Point,
    Line,
    Lseg,
    Box,
    Path,
    Polygon,
    Circle,
    Tsvector,
    Range(Element),
    Multirange(Element),
}

/// The types that the built-in ranges are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    Int4,
    Int8,
    Numeric,
    Date,
    Timestamp,
    TimestampTz,
}

/// Each type's OID (`pg_type.dat`) and name, which is also its mapping's.
pub(super) const KNOWN: [(u32, &str, Known); 34] = [
    (18, "char", Known::Char),
    (27, "tid", Known::Tid),
    (28, "xid", Known::Xid),
    (29, "cid", Known::Cid),
    (600, "point", Known::Point),
    (601, "lseg", Known::Lseg),
    (602, "path", Known::Path),
    (603, "box", Known::Box),
    (604, "polygon", Known::Polygon),
    (628, "line", Known::Line),
    (650, "cidr", Known::Cidr),
    (718, "circle", Known::Circle),
    (774, "macaddr8", Known::Macaddr8),
    (829, "macaddr", Known::Macaddr),
    (869, "inet", Known::Inet),
    (1186, "interval", Known::Interval),
    (1266, "timetz", Known::TimeTz),
    (1560, "bit", Known::Bit),
    (1562, "varbit", Known::Varbit),
    (3220, "pg_lsn", Known::PgLsn),
    (3614, "tsvector", Known::Tsvector),
    (3904, "int4range", Known::Range(Element::Int4)),
    (3906, "numrange", Known::Range(Element::Numeric)),
    (3908, "tsrange", Known::Range(Element::Timestamp)),
    (3910, "tstzrange", Known::Range(Element::TimestampTz)),
    (3912, "daterange", Known::Range(Element::Date)),
    (3926, "int8range", Known::Range(Element::Int8)),
    (4451, "int4multirange", Known::Multirange(Element::Int4)),
    (4532, "nummultirange", Known::Multirange(Element::Numeric)),
    (4533, "tsmultirange", Known::Multirange(Element::Timestamp)),
    (
        4534,
        "tstzmultirange",
        Known::Multirange(Element::TimestampTz),
    ),
    (4535, "datemultirange", Known::Multirange(Element::Date)),
    (4536, "int8multirange", Known::Multirange(Element::Int8)),
    (5069, "xid8", Known::Xid8),
];

impl Known {
    /// Whether every value that Postgres sends has a text of its own.
    pub(super) fn is_total(self) -> bool {
        match self {
            // A byte above 127 prints differently in each version.
            Self::Char => false,
            // A NaN prints without its payload and its sign.
            Self::Point | Self::Line | Self::Lseg | Self::Box => false,
            Self::Path | Self::Polygon | Self::Circle => false,
            Self::Inet | Self::Cidr | Self::Macaddr | Self::Macaddr8 => true,
            Self::Bit | Self::Varbit | Self::Interval | Self::TimeTz => true,
            Self::PgLsn | Self::Xid | Self::Xid8 | Self::Cid | Self::Tid => true,
            Self::Tsvector | Self::Range(_) | Self::Multirange(_) => true,
        }
    }

    pub(super) fn name(self) -> &'static str {
        let entry = KNOWN.iter().find(|(_, _, known)| *known == self);
        entry.map_or("known", |(_, name, _)| name)
    }
}

pub(super) fn encode(known: Known, image: &[u8], out: &mut Vec<u8>) -> Result<Fit, ValueError> {
    let text = to_text(known, image).ok_or(ValueError::Image {
        expected: known.name(),
        length: image.len(),
    })?;
    let mut back = Vec::with_capacity(image.len());
    if from_text(known, &text, &mut back).is_none() || back != image {
        return Ok(Fit::Exact);
    }
    write_str(out, &text);
    Ok(Fit::Typed)
}

pub(super) fn decode(known: Known, text: &str, out: &mut Vec<u8>) -> Result<(), ValueError> {
    from_text(known, text, out).ok_or(ValueError::Meaning {
        expected: known.name(),
    })
}

/// `None` when `image` has not the type's layout.
pub(super) fn to_text(known: Known, image: &[u8]) -> Option<String> {
    match known {
        Known::Inet => network::to_text(image, network::Kind::Inet),
        Known::Cidr => network::to_text(image, network::Kind::Cidr),
        Known::Macaddr => network::mac_to_text::<6>(image),
        Known::Macaddr8 => network::mac_to_text::<8>(image),
        Known::Bit | Known::Varbit => bits::to_text(image),
        Known::Interval => clock::interval_to_text(image),
        Known::TimeTz => clock::timetz_to_text(image),
        Known::PgLsn => number::lsn_to_text(image),
        Known::Xid | Known::Cid => number::u32_to_text(image),
        Known::Xid8 => number::u64_to_text(image),
        Known::Tid => number::tid_to_text(image),
        Known::Char => number::char_to_text(image),
        Known::Point => geometry::point_to_text(image),
        Known::Line => geometry::line_to_text(image),
        Known::Lseg => geometry::lseg_to_text(image),
        Known::Box => geometry::box_to_text(image),
        Known::Path => geometry::path_to_text(image),
        Known::Polygon => geometry::polygon_to_text(image),
        Known::Circle => geometry::circle_to_text(image),
        Known::Tsvector => search::to_text(image),
        Known::Range(element) => range::to_text(element, image),
        Known::Multirange(element) => range::multi_to_text(element, image),
    }
}

/// Appends the image; `None` when `text` is no value of the type.
fn from_text(known: Known, text: &str, out: &mut Vec<u8>) -> Option<()> {
    match known {
        Known::Inet => network::from_text(text, network::Kind::Inet, out),
        Known::Cidr => network::from_text(text, network::Kind::Cidr, out),
        Known::Macaddr => network::mac_from_text::<6>(text, out),
        Known::Macaddr8 => network::mac_from_text::<8>(text, out),
        Known::Bit | Known::Varbit => bits::from_text(text, out),
        Known::Interval => clock::interval_from_text(text, out),
        Known::TimeTz => clock::timetz_from_text(text, out),
        Known::PgLsn => number::lsn_from_text(text, out),
        Known::Xid | Known::Cid => number::u32_from_text(text, out),
        Known::Xid8 => number::u64_from_text(text, out),
        Known::Tid => number::tid_from_text(text, out),
        Known::Char => number::char_from_text(text, out),
        Known::Point => geometry::point_from_text(text, out),
        Known::Line => geometry::line_from_text(text, out),
        Known::Lseg => geometry::lseg_from_text(text, out),
        Known::Box => geometry::box_from_text(text, out),
        Known::Path => geometry::path_from_text(text, out),
        Known::Polygon => geometry::polygon_from_text(text, out),
        Known::Circle => geometry::circle_from_text(text, out),
        Known::Tsvector => search::from_text(text, out),
        Known::Range(element) => range::from_text(element, text, out),
        Known::Multirange(element) => range::multi_from_text(element, text, out),
    }
}

/// The next `N` bytes of an image.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*head)
}

/// The next part of an image: its length in four bytes, then the part.
fn take_part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(i32::from_be_bytes(take(rest)?)).ok()?;
    let (part, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(part)
}

/// Appends a part that `write` writes, its length before it.
fn put_part(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> Option<()> {
    let mut part = Vec::new();
    write(&mut part)?;
    out.extend(i32::try_from(part.len()).ok()?.to_be_bytes());
    out.extend(part);
    Some(())
}

/// A decimal number without a sign: `parse` alone would also take a leading `+`.
fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
