//! `numeric`. Layout of `numeric_send`: number of digits, weight of the first, sign, display scale,
//! then the digits, which are of base 10,000; all of two bytes, big-endian. Leading and trailing
//! zero digits are stripped.

use super::{Fit, ValueError};
use crate::avro::write_bytes;

const EXPECTED: &str = "numeric";
const MEANING: ValueError = ValueError::Meaning { expected: EXPECTED };

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const PLUS_INFINITY: u16 = 0xD000;
const MINUS_INFINITY: u16 = 0xF000;

/// A precision of 1,000 digits, the most there is, takes 416 bytes. The work grows with the square of
/// the length, so a hostile datum could otherwise take hours.
const LONGEST_DECIMAL: usize = 416;

const BASE: u32 = 10_000;
/// Decimal digits in one digit of base 10,000.
const GROUP: usize = 4;

/// A numeric as it stands in its image.
struct Image<'a> {
    weight: i32,
    sign: u16,
    scale: u16,
    digits: &'a [u8],
}

impl<'a> Image<'a> {
    fn parse(image: &'a [u8]) -> Result<Self, ValueError> {
        let malformed = ValueError::Image {
            expected: EXPECTED,
            length: image.len(),
        };
        let (header, digits) = image.split_first_chunk::<8>().ok_or(malformed)?;
        let [n0, n1, w0, w1, s0, s1, d0, d1] = *header;
        if usize::from(u16::from_be_bytes([n0, n1])) * 2 != digits.len() {
            return Err(malformed);
        }
        Ok(Self {
            weight: i16::from_be_bytes([w0, w1]).into(),
            sign: u16::from_be_bytes([s0, s1]),
            scale: u16::from_be_bytes([d0, d1]),
            digits,
        })
    }

    /// The digit worth 10,000 to the power of `weight`.
    fn digit(&self, weight: i32) -> u32 {
        let place = usize::try_from(self.weight - weight).ok();
        place
            .and_then(|place| self.digits.get(place * 2..place * 2 + 2))
            .map_or(0, |pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
    }
}

/// Appends the unscaled value as minimal big-endian two's complement (Avro specification,
/// "Decimal").
pub(super) fn encode_decimal(
    image: &[u8],
    scale: u16,
    out: &mut Vec<u8>,
) -> Result<Fit, ValueError> {
    let number = Image::parse(image)?;
    if !matches!(number.sign, POSITIVE | NEGATIVE) || number.scale != scale {
        return Ok(Fit::Exact);
    }
    let groups = usize::from(scale).div_ceil(GROUP);
    let last = -i32::try_from(groups).map_err(|_| MEANING)?;
    let mut value = Magnitude::default();
    for weight in (last..=number.weight.max(0)).rev() {
        value.multiply_add(BASE, number.digit(weight));
    }
    // The last group may hold more decimals than the scale; within it they are zero.
    let surplus = groups * GROUP - usize::from(scale);
    if value.divide(10_u32.pow(u32::try_from(surplus).map_err(|_| MEANING)?)) != 0 {
        return Ok(Fit::Exact);
    }
    write_bytes(out, &value.to_twos_complement(number.sign == NEGATIVE));
    Ok(Fit::Typed)
}

pub(super) fn decode_decimal(
    bytes: &[u8],
    scale: u16,
    out: &mut Vec<u8>,
) -> Result<(), ValueError> {
    if bytes.len() > LONGEST_DECIMAL {
        return Err(MEANING);
    }
    let (negative, mut value) = Magnitude::from_twos_complement(bytes);
    let groups = usize::from(scale).div_ceil(GROUP);
    let surplus = groups * GROUP - usize::from(scale);
    value.multiply_add(10_u32.pow(u32::try_from(surplus).map_err(|_| MEANING)?), 0);
    let mut digits = Vec::new();
    while !value.is_zero() {
        digits.push(u16::try_from(value.divide(BASE)).map_err(|_| MEANING)?);
    }
    digits.reverse();
    let first = i64::try_from(digits.len()).map_err(|_| MEANING)?
        - i64::try_from(groups).map_err(|_| MEANING)?
        - 1;
    write_image(&digits, first, negative, scale, out)
}

/// The text that `numeric_out` writes: plain digits, never an exponent.
pub(super) fn to_text(image: &[u8]) -> Result<String, ValueError> {
    let number = Image::parse(image)?;
    match number.sign {
        POSITIVE | NEGATIVE => {}
        NAN => return Ok("NaN".to_owned()),
        PLUS_INFINITY => return Ok("Infinity".to_owned()),
        MINUS_INFINITY => return Ok("-Infinity".to_owned()),
        _ => {
            return Err(ValueError::Image {
                expected: EXPECTED,
                length: image.len(),
            });
        }
    }
    let mut whole = String::new();
    for weight in (0..=number.weight).rev() {
        whole.push_str(&format!("{:04}", number.digit(weight)));
    }
    let whole = whole.trim_start_matches('0');
    let mut text = String::new();
    if number.sign == NEGATIVE {
        text.push('-');
    }
    text.push_str(if whole.is_empty() { "0" } else { whole });
    let scale = usize::from(number.scale);
    if scale > 0 {
        text.push('.');
        let end = text.len() + scale;
        let mut weight = -1;
        while text.len() < end {
            text.push_str(&format!("{:04}", number.digit(weight)));
            weight -= 1;
        }
        text.truncate(end);
    }
    Ok(text)
}

/// Appends the image of the number that [`to_text`] wrote.
pub(super) fn from_text(text: &str, out: &mut Vec<u8>) -> Result<(), ValueError> {
    match text {
        "NaN" => return write_special(NAN, 0, out),
        "Infinity" => return write_special(PLUS_INFINITY, 0x20, out),
        "-Infinity" => return write_special(MINUS_INFINITY, 0x20, out),
        _ => {}
    }
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let is_number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
        return Err(MEANING);
    }
    let lead = whole.len().next_multiple_of(GROUP) - whole.len();
    let tail = fraction.len().next_multiple_of(GROUP) - fraction.len();
    let mut decimals = "0".repeat(lead);
    decimals.push_str(whole);
    let first = i64::try_from(decimals.len() / GROUP).map_err(|_| MEANING)? - 1;
    decimals.push_str(fraction);
    decimals.push_str(&"0".repeat(tail));
    let digits: Vec<u16> = decimals.as_bytes().chunks(GROUP).map(group).collect();
    let scale = u16::try_from(fraction.len()).map_err(|_| MEANING)?;
    write_image(&digits, first, negative, scale, out)
}

/// Four decimal digits as one digit of base 10,000.
fn group(decimals: &[u8]) -> u16 {
    decimals
        .iter()
        .fold(0, |value, digit| value * 10 + u16::from(digit - b'0'))
}

fn write_special(sign: u16, scale: u16, out: &mut Vec<u8>) -> Result<(), ValueError> {
    for field in [0, 0, sign, scale] {
        out.extend(field.to_be_bytes());
    }
    Ok(())
}

/// Appends an image, zero digits at both ends stripped as Postgres does (`strip_var`), the first of
/// `digits` being worth 10,000 to the power of `first`.
fn write_image(
    digits: &[u16],
    first: i64,
    negative: bool,
    scale: u16,
    out: &mut Vec<u8>,
) -> Result<(), ValueError> {
    let leading = digits.iter().take_while(|digit| **digit == 0).count();
    let trailing = digits.iter().rev().take_while(|digit| **digit == 0).count();
    let stripped = digits
        .get(leading..digits.len() - trailing.min(digits.len()))
        .unwrap_or(&[]);
    let (weight, sign) = match stripped {
        [] => (0, POSITIVE),
        _ => {
            let weight = first - i64::try_from(leading).map_err(|_| MEANING)?;
            (
                i16::try_from(weight).map_err(|_| MEANING)?,
                if negative { NEGATIVE } else { POSITIVE },
            )
        }
    };
    out.extend(
        u16::try_from(stripped.len())
            .map_err(|_| MEANING)?
            .to_be_bytes(),
    );
    out.extend(weight.to_be_bytes());
    out.extend(sign.to_be_bytes());
    out.extend(scale.to_be_bytes());
    for digit in stripped {
        out.extend(digit.to_be_bytes());
    }
    Ok(())
}

/// A natural number of any size: limbs of 32 bits, the lowest first, no zero limb last.
#[derive(Default)]
struct Magnitude(Vec<u32>);

impl Magnitude {
    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    fn multiply_add(&mut self, factor: u32, addend: u32) {
        let mut carry = u64::from(addend);
        for limb in &mut self.0 {
            let product = u64::from(*limb) * u64::from(factor) + carry;
            *limb = low(product);
            carry = product >> 32;
        }
        if carry > 0 {
            self.0.push(low(carry));
        }
    }

    /// Divides by `divisor` and answers the remainder.
    fn divide(&mut self, divisor: u32) -> u32 {
        let mut remainder = 0_u64;
        for limb in self.0.iter_mut().rev() {
            let value = remainder << 32 | u64::from(*limb);
            *limb = low(value / u64::from(divisor));
            remainder = value % u64::from(divisor);
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        low(remainder)
    }

    fn to_twos_complement(&self, negative: bool) -> Vec<u8> {
        let mut bytes: Vec<u8> = self
            .0
            .iter()
            .rev()
            .flat_map(|limb| limb.to_be_bytes())
            .collect();
        bytes.insert(0, 0);
        if negative {
            negate(&mut bytes);
        }
        // Minimal: the sign is told by the first bit, so equal bytes before it say nothing.
        let filler = if negative { 0xFF } else { 0x00 };
        let surplus = bytes
            .windows(2)
            .take_while(|pair| pair[0] == filler && (pair[1] & 0x80) == (filler & 0x80))
            .count();
        bytes.split_off(surplus)
    }

    fn from_twos_complement(bytes: &[u8]) -> (bool, Self) {
        let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
        let mut magnitude = bytes.to_vec();
        if negative {
            magnitude.insert(0, 0xFF);
            negate(&mut magnitude);
        }
        let mut value = Self::default();
        for byte in magnitude {
            value.multiply_add(256, byte.into());
        }
        (negative, value)
    }
}

fn negate(bytes: &mut [u8]) {
    let mut carry = true;
    for byte in bytes.iter_mut().rev() {
        (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
    }
}

/// The low half of `value`.
fn low(value: u64) -> u32 {
    let [.., a, b, c, d] = value.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::avro::Reader;

    fn image(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        from_text(text, &mut out).unwrap();
        out
    }

    #[track_caller]
    fn check_decimal(text: &str, scale: u16, bytes: &[u8]) {
        let image = image(text);
        let mut datum = Vec::new();
        assert_eq!(encode_decimal(&image, scale, &mut datum), Ok(Fit::Typed));
        assert_eq!(Reader::new(&datum).bytes().unwrap(), bytes, "{text}");
        let mut back = Vec::new();
        decode_decimal(bytes, scale, &mut back).unwrap();
        assert_eq!(back, image, "{text}");
    }

    #[test]
    fn decimals_are_minimal_twos_complement() {
        check_decimal("0.00", 2, &[0]);
        check_decimal("1.27", 2, &[0x7F]);
        check_decimal("1.28", 2, &[0x00, 0x80]);
        check_decimal("-1.28", 2, &[0x80]);
        check_decimal("-1.29", 2, &[0xFF, 0x7F]);
        check_decimal("0.01", 2, &[1]);
        check_decimal("-0.000001", 6, &[0xFF]);
        let fifty_digits = [
            0x08, 0x72, 0x7F, 0x63, 0x69, 0xAA, 0xF8, 0x3C, 0xA1, 0x50, 0x26, 0x74, 0x7A, 0xF8,
            0xC7, 0xF1, 0x96, 0xCE, 0x3F, 0x0A, 0xD2,
        ];
        check_decimal(
            "12345678901234567890123456789012345678901234567890",
            0,
            &fifty_digits,
        );
    }

    #[test]
    fn images_are_those_of_postgres() {
        // select numeric_send('12345.678') and so on, on Postgres 15.
        assert_eq!(
            image("12345.678"),
            [0, 3, 0, 1, 0, 0, 0, 3, 0, 1, 9, 0x29, 0x1A, 0x7C]
        );
        assert_eq!(image("-0.0001"), [0, 1, 0xFF, 0xFF, 0x40, 0, 0, 4, 0, 1]);
        assert_eq!(image("0.00"), [0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(image("NaN"), [0, 0, 0, 0, 0xC0, 0, 0, 0]);
        assert_eq!(image("-Infinity"), [0, 0, 0, 0, 0xF0, 0, 0, 0x20]);
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?") {
            let back = to_text(&image(&text)).unwrap();
            // Postgres knows no negative zero.
            let zero = text.bytes().all(|b| matches!(b, b'-' | b'0' | b'.'));
            let expected = if zero { text.trim_start_matches('-') } else { &text };
            prop_assert_eq!(back, expected);
        }

        #[test]
        fn every_decimal_comes_back(whole in "[1-9][0-9]{0,30}", fraction in "[0-9]{0,20}",
                                    negative in any::<bool>()) {
            let sign = if negative { "-" } else { "" };
            let point = if fraction.is_empty() { "" } else { "." };
            let image = image(&format!("{sign}{whole}{point}{fraction}"));
            let scale = u16::try_from(fraction.len()).unwrap();
            let mut datum = Vec::new();
            prop_assert_eq!(encode_decimal(&image, scale, &mut datum), Ok(Fit::Typed));
            let mut back = Vec::new();
            decode_decimal(Reader::new(&datum).bytes().unwrap(), scale, &mut back).unwrap();
            prop_assert_eq!(back, image);
        }
    }
}
