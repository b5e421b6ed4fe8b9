//! The text of a float8: the shortest that reads back, as `float8out` prints it.

/// Digits that tell every float8 apart.
const ENOUGH: usize = 17;

pub(super) fn to_text(bits: u64) -> String {
    let value = f64::from_bits(bits);
    if value.is_nan() {
        return "NaN".to_owned();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    if value.is_infinite() {
        return format!("{sign}Infinity");
    }
    if value == 0.0 {
        return format!("{sign}0");
    }
    let (digits, exponent) = shortest(value.abs());
    format!("{sign}{}", laid_out(&digits.to_string(), exponent))
}

/// The bits; of NaNs, those of C's `NAN`.
pub(super) fn from_text(text: &str) -> Option<u64> {
    match text {
        "NaN" => return Some(0x7FF8_0000_0000_0000),
        "Infinity" => return Some(f64::INFINITY.to_bits()),
        "-Infinity" => return Some(f64::NEG_INFINITY.to_bits()),
        _ => {}
    }
    // `parse` alone would also take "inf" and "nan".
    let of_number = |b: u8| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e');
    if !text.bytes().all(of_number) {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    value.is_finite().then(|| value.to_bits())
}

/// `value` as digits and the power of ten of the last one.
///
/// Rust's shortest text tells how many digits to begin with. It is not always Postgres': it rounds a
/// tie up, not to even, and it may lie midway between two floats, relying on the reader to round to
/// even, which Postgres avoids (`ryu_common.h`, `STRICTLY_SHORTEST`).
fn shortest(value: f64) -> (u64, i32) {
    let (digits, _) = parts(&format!("{value:e}"));
    for count in digits.to_string().len()..ENOUGH {
        let (nearest, exponent) = rounded(value, count);
        // Where the floats change their distance, the one side's interval is wider.
        for candidate in [nearest, nearest + 1, nearest.saturating_sub(1)] {
            if is_inside(candidate, exponent, value) {
                return (candidate, exponent);
            }
        }
    }
    rounded(value, ENOUGH)
}

/// `value` rounded to `count` digits, ties to even.
fn rounded(value: f64, count: usize) -> (u64, i32) {
    parts(&format!("{value:.*e}", count.saturating_sub(1)))
}

/// Splits what `{:e}` writes.
fn parts(scientific: &str) -> (u64, i32) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits = format!("{whole}{fraction}").parse().unwrap_or(0);
    let decimals = i32::try_from(fraction.len()).unwrap_or(0);
    (digits, exponent - decimals)
}

/// Whether the number lies strictly between the midpoints around `value`: a hair more and a hair less
/// read as `value` too. No midpoint is nearer to a number of 17 digits than 40 digits further tell.
fn is_inside(digits: u64, exponent: i32, value: f64) -> bool {
    let Some(less) = digits.checked_sub(1) else {
        return false;
    };
    let exponent = exponent - 40;
    let reads_back = |text: String| text.parse() == Ok(value);
    reads_back(format!("{digits}{:040}e{exponent}", 1))
        && reads_back(format!("{less}{}e{exponent}", "9".repeat(40)))
}

/// `%g` with fifteen digits decides between both forms; an exponent has at least two digits.
fn laid_out(digits: &str, last: i32) -> String {
    let digits_after_first = i32::try_from(digits.len()).unwrap_or(0) - 1;
    let exponent = last + digits_after_first;
    if !(-4..15).contains(&exponent) {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{first}{point}{rest}e{sign}{:02}", exponent.unsigned_abs());
    }
    match (usize::try_from(exponent), usize::try_from(last)) {
        (_, Ok(zeros)) => digits.to_owned() + &"0".repeat(zeros),
        (Ok(exponent), Err(_)) => {
            let (whole, fraction) = digits.split_at(exponent + 1);
            format!("{whole}.{fraction}")
        }
        (Err(_), Err(_)) => {
            let zeros = usize::try_from(-1 - exponent).unwrap_or(0);
            format!("0.{}{digits}", "0".repeat(zeros))
        }
    }
}
