//! The text of a binary image, for people: what Postgres prints under the settings that `known` names.

use super::known::{self, Known, calendar, clock, float};
use super::{Scalar, numeric};

pub(super) fn of_scalar(scalar: Scalar, image: &[u8]) -> Option<String> {
    Some(match scalar {
        Scalar::Boolean => match image {
            [0] => "f".to_owned(),
            [_] => "t".to_owned(),
            _ => return None,
        },
        Scalar::Int2 => i16::from_be_bytes(image.try_into().ok()?).to_string(),
        Scalar::Int4 => i32::from_be_bytes(image.try_into().ok()?).to_string(),
        Scalar::Int8 => i64::from_be_bytes(image.try_into().ok()?).to_string(),
        Scalar::Oid => u32::from_be_bytes(image.try_into().ok()?).to_string(),
        Scalar::Float4 => float::single_to_text(u32::from_be_bytes(image.try_into().ok()?)),
        Scalar::Float8 => float::to_text(u64::from_be_bytes(image.try_into().ok()?)),
        Scalar::Text | Scalar::Json | Scalar::TextForm | Scalar::Int2Vector | Scalar::OidVector => {
            String::from_utf8(image.into()).ok()?
        }
        Scalar::Jsonb | Scalar::Jsonpath => {
            let (_version, text) = image.split_first()?;
            String::from_utf8(text.into()).ok()?
        }
        Scalar::Bytea => hex(image),
        Scalar::Decimal { .. } | Scalar::Numeric => numeric::to_text(image).ok()?,
        Scalar::Date => calendar::date_to_text(image)?,
        Scalar::Time => clock::to_text(u64::from_be_bytes(image.try_into().ok()?)),
        Scalar::Timestamp => calendar::timestamp_to_text(image, calendar::PLAIN)?,
        Scalar::TimestampTz => calendar::timestamp_to_text(image, calendar::UTC)?,
        Scalar::Uuid => uuid(image.try_into().ok()?),
        Scalar::Known(known) => known::to_text(known, image)?,
        Scalar::Image => return None,
    })
}

/// As `array_out` writes it: nested braces, and the bounds before them where one is not 1.
pub(super) fn of_array(element: Scalar, image: &[u8]) -> Option<String> {
    let mut rest = image;
    let dimensions = usize::try_from(take(&mut rest)?).ok()?;
    let (_has_null, _element_oid) = (take(&mut rest)?, take(&mut rest)?);
    if dimensions == 0 {
        return rest.is_empty().then(|| "{}".to_owned());
    }
    if dimensions > DIMENSIONS_MAX {
        return None;
    }
    let mut lengths = Vec::new();
    let mut bounds = String::new();
    let mut is_plain = true;
    for _ in 0..dimensions {
        let (length, lower) = (take(&mut rest)?, take(&mut rest)?);
        let upper = i64::from(lower) + i64::from(length) - 1;
        bounds.push_str(&format!("[{lower}:{upper}]"));
        is_plain &= lower == 1;
        // Of no elements there are no dimensions either: without any, a length costs no bytes.
        lengths.push(usize::try_from(length).ok().filter(|length| *length > 0)?);
    }
    let mut text = String::new();
    if !is_plain {
        text = bounds + "=";
    }
    write_dimension(element, &lengths, &mut rest, &mut text)?;
    rest.is_empty().then_some(text)
}

/// `MAXDIM` (`utils/array.h`).
const DIMENSIONS_MAX: usize = 6;

fn write_dimension(
    element: Scalar,
    lengths: &[usize],
    rest: &mut &[u8],
    text: &mut String,
) -> Option<()> {
    let Some((length, inner)) = lengths.split_first() else {
        return write_element(element, rest, text);
    };
    // `pg_type.typdelim`, which differs for this one.
    let delimiter = match element {
        Scalar::Known(Known::Box) => ';',
        _ => ',',
    };
    text.push('{');
    for place in 0..*length {
        if place > 0 {
            text.push(delimiter);
        }
        write_dimension(element, inner, rest, text)?;
    }
    text.push('}');
    Some(())
}

fn write_element(element: Scalar, rest: &mut &[u8], text: &mut String) -> Option<()> {
    let length = take(rest)?;
    if length == -1 {
        text.push_str("NULL");
        return Some(());
    }
    let (image, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    let plain = of_scalar(element, image)?;
    if !needs_quotes(&plain, element) {
        text.push_str(&plain);
        return Some(());
    }
    text.push('"');
    for character in plain.chars() {
        if matches!(character, '"' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text.push('"');
    Some(())
}

fn needs_quotes(text: &str, element: Scalar) -> bool {
    let delimiter = match element {
        Scalar::Known(Known::Box) => ';',
        _ => ',',
    };
    let special = |character: char| {
        matches!(character, '"' | '\\' | '{' | '}' | ' ' | '\t'..='\r') || character == delimiter
    };
    text.is_empty() || text.eq_ignore_ascii_case("null") || text.contains(special)
}

fn take(rest: &mut &[u8]) -> Option<i32> {
    let (head, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(i32::from_be_bytes(*head))
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("\\x");
    for byte in bytes {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

fn uuid(image: [u8; 16]) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(image));
    let [a, b, c, d, e] = [0..8, 8..12, 12..16, 16..20, 20..32].map(|place| &digits[place]);
    format!("{a}-{b}-{c}-{d}-{e}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::Mapping;

    fn array(image: &[i32]) -> Option<String> {
        let image: Vec<u8> = image.iter().flat_map(|n| n.to_be_bytes()).collect();
        of_array(Scalar::Int4, &image)
    }

    #[test]
    fn arrays_of_any_shape_print_as_postgres_prints_them() {
        let check = |image: &[i32], text: &str| assert_eq!(array(image).as_deref(), Some(text));
        check(&[0, 0, 23], "{}");
        check(&[1, 1, 23, 3, 1, 4, 7, -1, 4, -8], "{7,NULL,-8}");
        check(&[1, 0, 23, 2, 0, 4, 7, 4, 8], "[0:1]={7,8}");
        check(
            &[2, 0, 23, 2, 1, 2, 1, 4, 1, 4, 2, 4, 3, 4, 4],
            "{{1,2},{3,4}}",
        );
        assert_eq!(array(&[1, 0, 23, 2, 1, 4, 7]), None);
    }

    #[test]
    fn what_only_the_source_can_print_has_no_text() {
        assert_eq!(Mapping::Scalar(Scalar::Image).text(&[1, 2]), None);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(image in proptest::collection::vec(any::<u8>(), 0..64)) {
            for element in [Scalar::Int4, Scalar::Numeric, Scalar::Jsonb, Scalar::Time] {
                let _ = Mapping::Scalar(element).text(&image);
                let _ = Mapping::Array { element, element_oid: 0 }.text(&image);
            }
        }
    }
}
