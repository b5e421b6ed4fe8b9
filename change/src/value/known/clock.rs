//! `interval` (microseconds, days, months) and `timetz` (microseconds, seconds west of UTC).

use super::{digits, take};

pub(super) const MICROS_PER_DAY: i64 = 86_400_000_000;

/// `HH:MM:SS[.ffffff]`, zeros at the end of the fraction left out.
pub(in crate::value) fn to_text(micros: u64) -> String {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let text = format!("{hour:02}:{minute:02}:{second:02}");
    if fraction == 0 {
        return text;
    }
    let fraction = format!("{fraction:06}");
    format!("{text}.{}", fraction.trim_end_matches('0'))
}

pub(super) fn from_text(text: &str) -> Option<u64> {
    let mut parts = text.splitn(3, ':');
    let hour: u32 = digits(parts.next()?)?;
    let minute: u8 = digits(parts.next()?)?;
    let seconds = parts.next()?;
    let (second, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let second: u8 = digits(second)?;
    if minute > 59 || second > 59 || fraction.len() > 6 {
        return None;
    }
    let fraction: u64 = digits(&format!("{fraction:0<6}"))?;
    let seconds = u64::from(hour) * 3_600 + u64::from(minute) * 60 + u64::from(second);
    Some(seconds * 1_000_000 + fraction)
}

/// Since Postgres 17 the outermost images are infinities; before, they were the outermost values.
pub(super) fn interval_to_text(image: &[u8]) -> Option<String> {
    let mut rest = image;
    let micros = i64::from_be_bytes(take(&mut rest)?);
    let days = i32::from_be_bytes(take(&mut rest)?);
    let months = i32::from_be_bytes(take(&mut rest)?);
    if !rest.is_empty() {
        return None;
    }
    match (micros, days, months) {
        (i64::MAX, i32::MAX, i32::MAX) => return Some("infinity".to_owned()),
        (i64::MIN, i32::MIN, i32::MIN) => return Some("-infinity".to_owned()),
        _ => {}
    }
    let mut text = String::new();
    // `AddPostgresIntPart`: a negative part makes the next one show its sign.
    let mut after_negative = false;
    for (value, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if value == 0 {
            continue;
        }
        let space = if text.is_empty() { "" } else { " " };
        let plus = if after_negative && value > 0 { "+" } else { "" };
        let plural = if value == 1 { "" } else { "s" };
        text.push_str(&format!("{space}{plus}{value} {unit}{plural}"));
        after_negative = value < 0;
    }
    if micros != 0 || text.is_empty() {
        let space = if text.is_empty() { "" } else { " " };
        let sign = match (micros < 0, after_negative) {
            (true, _) => "-",
            (false, true) => "+",
            (false, false) => "",
        };
        text.push_str(&format!("{space}{sign}{}", to_text(micros.unsigned_abs())));
    }
    Some(text)
}

pub(super) fn interval_from_text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let (micros, days, months) = match text {
        "infinity" => (i64::MAX, i32::MAX, i32::MAX),
        "-infinity" => (i64::MIN, i32::MIN, i32::MIN),
        _ => interval_parts(text)?,
    };
    out.extend(micros.to_be_bytes());
    out.extend(days.to_be_bytes());
    out.extend(months.to_be_bytes());
    Some(())
}

fn interval_parts(text: &str) -> Option<(i64, i32, i32)> {
    let (mut micros, mut days, mut months) = (0_i64, 0_i32, 0_i32);
    let mut words = text.split(' ');
    while let Some(word) = words.next() {
        if word.contains(':') {
            micros = signed_time(word)?;
            return words.next().is_none().then_some((micros, days, months));
        }
        let value: i32 = word.parse().ok()?;
        match words.next()? {
            "year" | "years" => months = months.checked_add(value.checked_mul(12)?)?,
            "mon" | "mons" => months = months.checked_add(value)?,
            "day" | "days" => days = days.checked_add(value)?,
            _ => return None,
        }
    }
    Some((micros, days, months))
}

fn signed_time(text: &str) -> Option<i64> {
    match text.strip_prefix('-') {
        Some(rest) => 0_i64.checked_sub_unsigned(from_text(rest)?),
        None => i64::try_from(from_text(text.strip_prefix('+').unwrap_or(text))?).ok(),
    }
}

pub(super) fn timetz_to_text(image: &[u8]) -> Option<String> {
    let mut rest = image;
    let micros = u64::from_be_bytes(take(&mut rest)?);
    let west = i32::from_be_bytes(take(&mut rest)?);
    if !rest.is_empty() {
        return None;
    }
    let sign = if west <= 0 { '+' } else { '-' };
    let seconds = west.unsigned_abs();
    let mut text = format!("{}{sign}{:02}", to_text(micros), seconds / 3_600);
    if seconds % 3_600 != 0 {
        text.push_str(&format!(":{:02}", seconds / 60 % 60));
    }
    if seconds % 60 != 0 {
        text.push_str(&format!(":{:02}", seconds % 60));
    }
    Some(text)
}

pub(super) fn timetz_from_text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let at = text.find(['+', '-'])?;
    let (time, zone) = text.split_at_checked(at)?;
    let (west, zone) = match zone.strip_prefix('-') {
        Some(zone) => (1, zone),
        None => (-1, zone.strip_prefix('+')?),
    };
    let mut seconds = 0_i32;
    let mut worth = 3_600_i32;
    for part in zone.splitn(3, ':') {
        seconds = seconds.checked_add(digits::<i32>(part)?.checked_mul(worth)?)?;
        worth /= 60;
    }
    out.extend(from_text(time)?.to_be_bytes());
    out.extend((west * seconds).to_be_bytes());
    Some(())
}
