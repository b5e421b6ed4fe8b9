//! The text of a float8: the shortest that reads back, as `float8out` prints it.

/// Digits that tell every float8 apart.
const ENOUGH: usize = 17;
/// Digits that tell every float4 apart.
const ENOUGH_SINGLE: usize = 9;
/// `FLT_DIG` and `DBL_DIG`, from which on Postgres writes an exponent.
const PRECISION: i32 = 15;
const PRECISION_SINGLE: i32 = 6;

pub(in crate::value) fn to_text(bits: u64) -> String {
    let value = f64::from_bits(bits);
    special(value).unwrap_or_else(|| {
        let value = value.abs();
        let (digits, exponent) = shortest(
            &format!("{value:e}"),
            ENOUGH,
            |decimals| format!("{value:.decimals$e}"),
            |text| text.parse() == Ok(value),
        );
        let sign = sign(f64::from_bits(bits));
        format!(
            "{sign}{}",
            laid_out(&digits.to_string(), exponent, PRECISION)
        )
    })
}

/// The text of a float4, as `float4out` prints it.
pub(in crate::value) fn single_to_text(bits: u32) -> String {
    let value = f32::from_bits(bits);
    special(value.into()).unwrap_or_else(|| {
        let value = value.abs();
        let (digits, exponent) = shortest(
            &format!("{value:e}"),
            ENOUGH_SINGLE,
            |decimals| format!("{value:.decimals$e}"),
            |text| text.parse() == Ok(value),
        );
        let sign = sign(f32::from_bits(bits).into());
        format!(
            "{sign}{}",
            laid_out(&digits.to_string(), exponent, PRECISION_SINGLE)
        )
    })
}

/// What has no digits of its own.
fn special(value: f64) -> Option<String> {
    if value.is_nan() {
        return Some("NaN".to_owned());
    }
    if value.is_infinite() {
        return Some(format!("{}Infinity", sign(value)));
    }
    (value == 0.0).then(|| format!("{}0", sign(value)))
}

fn sign(value: f64) -> &'static str {
    if value.is_sign_negative() { "-" } else { "" }
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

/// A number as digits and the power of ten of the last one. `plain` is Rust's shortest text,
/// `rounded` the text with so many decimals, ties to even.
///
/// Rust's shortest text tells how many digits to begin with. It is not always Postgres': it rounds a
/// tie up, not to even, and it may lie midway between two floats, relying on the reader to round to
/// even, which Postgres avoids (`ryu_common.h`, `STRICTLY_SHORTEST`).
fn shortest(
    plain: &str,
    enough: usize,
    rounded: impl Fn(usize) -> String,
    reads_back: impl Fn(&str) -> bool,
) -> (u64, i32) {
    let (digits, _) = parts(plain);
    for count in digits.to_string().len()..enough {
        let (nearest, exponent) = parts(&rounded(count.saturating_sub(1)));
        // Where the floats change their distance, the one side's interval is wider.
        for candidate in [nearest, nearest + 1, nearest.saturating_sub(1)] {
            if is_inside(candidate, exponent, &reads_back) {
                return (candidate, exponent);
            }
        }
    }
    parts(&rounded(enough - 1))
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

/// Whether the number lies strictly between the midpoints around the float: a hair more and a hair
/// less read as it too. No midpoint is nearer to a number of 17 digits than 40 digits further tell.
fn is_inside(digits: u64, exponent: i32, reads_back: impl Fn(&str) -> bool) -> bool {
    let Some(less) = digits.checked_sub(1) else {
        return false;
    };
    let exponent = exponent - 40;
    reads_back(&format!("{digits}{:040}e{exponent}", 1))
        && reads_back(&format!("{less}{}e{exponent}", "9".repeat(40)))
}

/// `%g` with so many digits decides between both forms; an exponent has at least two digits.
fn laid_out(digits: &str, last: i32, precision: i32) -> String {
    let digits_after_first = i32::try_from(digits.len()).unwrap_or(0) - 1;
    let exponent = last + digits_after_first;
    if !(-4..precision).contains(&exponent) {
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
