//! Values that are not arrays. Layouts are those of the types' send functions
//! (`src/backend/utils/adt/*.c`): integers big-endian, dates counted from 2000-01-01.

use super::{Fit, Scalar, ValueError, fixed, known, numeric, vector};
use crate::avro::{
    Reader, write_bool, write_bytes, write_double, write_float, write_long, write_str,
};

/// Days from 1970-01-01 to 2000-01-01.
const EPOCH_DAYS: i64 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS * 86_400_000_000;
/// The version byte that `jsonb_send` and `jsonpath_send` write before the text.
const JSON_VERSION: u8 = 1;

pub(super) fn encode(scalar: Scalar, image: &[u8], out: &mut Vec<u8>) -> Result<Fit, ValueError> {
    match scalar {
        Scalar::Boolean => write_bool(out, fixed::<1>(image, "boolean")? != [0]),
        Scalar::Int2 => write_long(out, i16::from_be_bytes(fixed(image, "int2")?).into()),
        Scalar::Int4 => write_long(out, i32::from_be_bytes(fixed(image, "int4")?).into()),
        Scalar::Int8 => write_long(out, i64::from_be_bytes(fixed(image, "int8")?)),
        Scalar::Oid => write_long(out, u32::from_be_bytes(fixed(image, "oid")?).into()),
        Scalar::Float4 => write_float(out, u32::from_be_bytes(fixed(image, "float4")?)),
        Scalar::Float8 => write_double(out, u64::from_be_bytes(fixed(image, "float8")?)),
        Scalar::Text | Scalar::Json | Scalar::TextForm => return Ok(encode_text(image, out)),
        Scalar::Jsonb => return encode_versioned("jsonb", image, out),
        Scalar::Jsonpath => return encode_versioned("jsonpath", image, out),
        Scalar::Known(known) => return known::encode(known, image, out),
        Scalar::Bytea | Scalar::Image => write_bytes(out, image),
        Scalar::Decimal { scale, .. } => return numeric::encode_decimal(image, scale, out),
        Scalar::Numeric => write_str(out, &numeric::to_text(image)?),
        Scalar::Int2Vector => write_str(out, &vector::int2(image)?),
        Scalar::OidVector => write_str(out, &vector::oid(image)?),
        Scalar::Date => return encode_date(image, out),
        Scalar::Time => write_long(out, i64::from_be_bytes(fixed(image, "time")?)),
        Scalar::Timestamp | Scalar::TimestampTz => return encode_timestamp(image, out),
        Scalar::Uuid => encode_uuid(fixed(image, "uuid")?, out),
    }
    Ok(Fit::Typed)
}

pub(super) fn decode(
    scalar: Scalar,
    reader: &mut Reader<'_>,
    out: &mut Vec<u8>,
) -> Result<(), ValueError> {
    match scalar {
        Scalar::Boolean => out.push(u8::from(reader.bool()?)),
        Scalar::Int2 => out.extend(narrow::<i16>(reader, "int2")?.to_be_bytes()),
        Scalar::Int4 => out.extend(narrow::<i32>(reader, "int4")?.to_be_bytes()),
        Scalar::Int8 | Scalar::Time => out.extend(reader.long()?.to_be_bytes()),
        Scalar::Oid => out.extend(narrow::<u32>(reader, "oid")?.to_be_bytes()),
        Scalar::Float4 => out.extend(reader.float()?.to_be_bytes()),
        Scalar::Float8 => out.extend(reader.double()?.to_be_bytes()),
        Scalar::Text | Scalar::Json | Scalar::TextForm | Scalar::Int2Vector | Scalar::OidVector => {
            out.extend_from_slice(reader.str()?.as_bytes());
        }
        Scalar::Jsonb | Scalar::Jsonpath => {
            out.push(JSON_VERSION);
            out.extend_from_slice(reader.str()?.as_bytes());
        }
        Scalar::Bytea | Scalar::Image => out.extend_from_slice(reader.bytes()?),
        Scalar::Decimal { scale, .. } => numeric::decode_decimal(reader.bytes()?, scale, out)?,
        Scalar::Numeric => numeric::from_text(reader.str()?, out)?,
        Scalar::Date => out.extend(decode_date(reader)?.to_be_bytes()),
        Scalar::Timestamp | Scalar::TimestampTz => {
            let micros = reader.long()?.checked_sub(EPOCH_MICROS);
            let micros = micros.ok_or(ValueError::Meaning {
                expected: "timestamp",
            })?;
            out.extend(micros.to_be_bytes());
        }
        Scalar::Known(known) => known::decode(known, reader.str()?, out)?,
        Scalar::Uuid => out.extend(decode_uuid(reader.str()?)?),
    }
    Ok(())
}

fn narrow<T: TryFrom<i64>>(
    reader: &mut Reader<'_>,
    expected: &'static str,
) -> Result<T, ValueError> {
    T::try_from(reader.long()?).map_err(|_| ValueError::Meaning { expected })
}

fn encode_text(image: &[u8], out: &mut Vec<u8>) -> Fit {
    match std::str::from_utf8(image) {
        Ok(text) => {
            write_str(out, text);
            Fit::Typed
        }
        Err(_) => Fit::Exact,
    }
}

fn encode_versioned(
    expected: &'static str,
    image: &[u8],
    out: &mut Vec<u8>,
) -> Result<Fit, ValueError> {
    match image.split_first() {
        Some((&JSON_VERSION, text)) => Ok(encode_text(text, out)),
        _ => Err(ValueError::Image {
            expected,
            length: image.len(),
        }),
    }
}

/// The infinities are the ends of the type's range; so is what a shift of the epoch overflows.
fn encode_date(image: &[u8], out: &mut Vec<u8>) -> Result<Fit, ValueError> {
    let days = i32::from_be_bytes(fixed(image, "date")?);
    if days == i32::MIN || days == i32::MAX {
        return Ok(Fit::Exact);
    }
    match i32::try_from(i64::from(days) + EPOCH_DAYS) {
        Ok(shifted) => write_long(out, shifted.into()),
        Err(_) => return Ok(Fit::Exact),
    }
    Ok(Fit::Typed)
}

fn decode_date(reader: &mut Reader<'_>) -> Result<i32, ValueError> {
    let meaning = ValueError::Meaning { expected: "date" };
    let days = reader.long()?.checked_sub(EPOCH_DAYS).ok_or(meaning)?;
    i32::try_from(days).map_err(|_| meaning)
}

fn encode_timestamp(image: &[u8], out: &mut Vec<u8>) -> Result<Fit, ValueError> {
    let micros = i64::from_be_bytes(fixed(image, "timestamp")?);
    match micros.checked_add(EPOCH_MICROS) {
        Some(shifted) if micros != i64::MIN => write_long(out, shifted),
        _ => return Ok(Fit::Exact),
    }
    Ok(Fit::Typed)
}

fn encode_uuid(image: [u8; 16], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; 36];
    let places = (0..36).filter(|place| !matches!(place, 8 | 13 | 18 | 23));
    let nibbles = image.iter().flat_map(|byte| [byte >> 4, byte & 0xF]);
    for (place, nibble) in places.zip(nibbles) {
        text[place] = DIGITS[usize::from(nibble)];
    }
    write_bytes(out, &text);
}

fn decode_uuid(text: &str) -> Result<[u8; 16], ValueError> {
    let meaning = ValueError::Meaning { expected: "uuid" };
    let digits: String = text.chars().filter(|character| *character != '-').collect();
    if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(meaning);
    }
    u128::from_str_radix(&digits, 16)
        .map(u128::to_be_bytes)
        .map_err(|_| meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(scalar: Scalar, image: &[u8], expected: Fit) {
        let mut datum = Vec::new();
        assert_eq!(encode(scalar, image, &mut datum), Ok(expected));
        if expected == Fit::Exact {
            assert!(datum.is_empty());
            return;
        }
        let mut back = Vec::new();
        let mut reader = Reader::new(&datum);
        decode(scalar, &mut reader, &mut back).unwrap();
        reader.finish().unwrap();
        assert_eq!(back, image);
    }

    #[test]
    fn values_at_the_ends_of_ranges_come_back() {
        check(Scalar::Boolean, &[1], Fit::Typed);
        check(Scalar::Int2, &i16::MIN.to_be_bytes(), Fit::Typed);
        check(Scalar::Int8, &i64::MAX.to_be_bytes(), Fit::Typed);
        check(Scalar::Oid, &u32::MAX.to_be_bytes(), Fit::Typed);
        check(
            Scalar::Float8,
            &0x7FF8_0000_0000_0001_u64.to_be_bytes(),
            Fit::Typed,
        );
        check(Scalar::Float4, &0x8000_0000_u32.to_be_bytes(), Fit::Typed);
        check(Scalar::Text, "ünï".as_bytes(), Fit::Typed);
        check(Scalar::Text, &[0xFF], Fit::Exact);
        check(Scalar::Jsonb, b"\x01{}", Fit::Typed);
        check(Scalar::Time, &86_400_000_000_i64.to_be_bytes(), Fit::Typed);
        check(Scalar::Uuid, &[0xA0; 16], Fit::Typed);
    }

    #[test]
    fn infinite_and_far_times_travel_as_their_image() {
        for days in [i32::MIN, i32::MAX] {
            check(Scalar::Date, &days.to_be_bytes(), Fit::Exact);
        }
        // 4714-11-24 BC and 5874897-12-31, the ends of type date.
        check(Scalar::Date, &(-2_451_545_i32).to_be_bytes(), Fit::Typed);
        check(Scalar::Date, &2_145_031_948_i32.to_be_bytes(), Fit::Typed);
        for micros in [i64::MIN, i64::MAX, i64::MAX - EPOCH_MICROS + 1] {
            check(Scalar::Timestamp, &micros.to_be_bytes(), Fit::Exact);
        }
        check(
            Scalar::TimestampTz,
            &(i64::MAX - EPOCH_MICROS).to_be_bytes(),
            Fit::Typed,
        );
        check(
            Scalar::TimestampTz,
            &(-211_813_488_000_000_000_i64).to_be_bytes(),
            Fit::Typed,
        );
    }

    #[test]
    fn an_image_of_another_length_is_an_error() {
        let expected = Err(ValueError::Image {
            expected: "int4",
            length: 2,
        });
        assert_eq!(encode(Scalar::Int4, &[0, 0], &mut Vec::new()), expected);
    }
}
