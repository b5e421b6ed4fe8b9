//! One-dimensional arrays. Layout of `array_send`: dimensions, a flag for NULLs, the element type's
//! OID, length and lower bound of each dimension, then each element as a length (-1: NULL) and its
//! image; integers of four bytes, big-endian.

use super::{Fit, Scalar, ValueError, fixed, scalar};
use crate::avro::{Reader, write_long};

const EXPECTED: &str = "array";

pub(super) fn encode(element: Scalar, image: &[u8], out: &mut Vec<u8>) -> Result<Fit, ValueError> {
    let mut rest = image;
    let dimensions = take_i32(&mut rest, image)?;
    let _has_null = take_i32(&mut rest, image)?;
    let _element_oid = take_i32(&mut rest, image)?;
    let elements = match dimensions {
        0 => 0,
        1 => {
            let length = take_i32(&mut rest, image)?;
            let lower_bound = take_i32(&mut rest, image)?;
            if lower_bound != 1 {
                return Ok(Fit::Exact);
            }
            length
        }
        _ => return Ok(Fit::Exact),
    };
    let start = out.len();
    if elements > 0 {
        write_long(out, elements.into());
    }
    for _ in 0..elements {
        if encode_element(element, &mut rest, image, out)? == Fit::Exact {
            out.truncate(start);
            return Ok(Fit::Exact);
        }
    }
    write_long(out, 0);
    if rest.is_empty() {
        Ok(Fit::Typed)
    } else {
        Err(malformed(image))
    }
}

fn encode_element(
    element: Scalar,
    rest: &mut &[u8],
    image: &[u8],
    out: &mut Vec<u8>,
) -> Result<Fit, ValueError> {
    let length = take_i32(rest, image)?;
    if length == -1 {
        write_long(out, 0);
        return Ok(Fit::Typed);
    }
    let length = usize::try_from(length).map_err(|_| malformed(image))?;
    let (value, after) = rest
        .split_at_checked(length)
        .ok_or_else(|| malformed(image))?;
    *rest = after;
    write_long(out, 1);
    scalar::encode(element, value, out)
}

pub(super) fn decode(
    element: Scalar,
    element_oid: u32,
    reader: &mut Reader<'_>,
    out: &mut Vec<u8>,
) -> Result<(), ValueError> {
    let mut values = Vec::new();
    let mut length = 0_i32;
    let mut has_null = 0_i32;
    loop {
        let items = reader.block()?;
        if items == 0 {
            break;
        }
        for _ in 0..items {
            length = length
                .checked_add(1)
                .ok_or(ValueError::Meaning { expected: EXPECTED })?;
            if reader.some()? {
                decode_element(element, reader, &mut values)?;
            } else {
                has_null = 1;
                values.extend((-1_i32).to_be_bytes());
            }
        }
    }
    let dimensions = i32::from(length > 0);
    out.extend(dimensions.to_be_bytes());
    out.extend(has_null.to_be_bytes());
    out.extend(element_oid.to_be_bytes());
    if length > 0 {
        out.extend(length.to_be_bytes());
        out.extend(1_i32.to_be_bytes());
    }
    out.extend(values);
    Ok(())
}

fn decode_element(
    element: Scalar,
    reader: &mut Reader<'_>,
    values: &mut Vec<u8>,
) -> Result<(), ValueError> {
    let at = values.len();
    values.extend([0; 4]);
    scalar::decode(element, reader, values)?;
    let length = i32::try_from(values.len() - at - 4)
        .map_err(|_| ValueError::Meaning { expected: EXPECTED })?;
    values[at..at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn take_i32(rest: &mut &[u8], image: &[u8]) -> Result<i32, ValueError> {
    let (head, after) = rest.split_at_checked(4).ok_or_else(|| malformed(image))?;
    *rest = after;
    fixed(head, EXPECTED).map(i32::from_be_bytes)
}

fn malformed(image: &[u8]) -> ValueError {
    ValueError::Image {
        expected: EXPECTED,
        length: image.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ints(numbers: &[i32]) -> Vec<u8> {
        numbers.iter().flat_map(|n| n.to_be_bytes()).collect()
    }

    #[track_caller]
    fn check(image: &[u8], expected: Fit) {
        let mut datum = Vec::new();
        assert_eq!(encode(Scalar::Int4, image, &mut datum), Ok(expected));
        if expected == Fit::Typed {
            let mut back = Vec::new();
            decode(Scalar::Int4, 23, &mut Reader::new(&datum), &mut back).unwrap();
            assert_eq!(back, image);
        }
    }

    #[test]
    fn arrays_of_one_dimension_come_back() {
        check(&ints(&[0, 0, 23]), Fit::Typed);
        check(&ints(&[1, 0, 23, 2, 1, 4, 7, 4, -8]), Fit::Typed);
        check(&ints(&[1, 1, 23, 2, 1, -1, 4, 9]), Fit::Typed);
    }

    #[test]
    fn other_shapes_travel_as_their_image() {
        check(&ints(&[1, 0, 23, 1, 0, 4, 7]), Fit::Exact);
        check(&ints(&[2, 0, 23, 1, 1, 1, 1, 4, 7]), Fit::Exact);
    }

    #[test]
    fn a_length_past_the_end_is_an_error() {
        let image = ints(&[1, 0, 23, 2, 1, 400, 7]);
        let expected = Err(ValueError::Image {
            expected: EXPECTED,
            length: image.len(),
        });
        assert_eq!(encode(Scalar::Int4, &image, &mut Vec::new()), expected);
    }
}
