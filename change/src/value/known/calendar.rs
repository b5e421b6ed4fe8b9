//! Texts of date, timestamp and timestamptz, for the ranges over them. Images count days or
//! microseconds from 2000-01-01; the ends of the integer's range are the infinities.

use super::clock::{self, MICROS_PER_DAY};

/// Days from 0000-03-01, where the calculation starts, to 2000-01-01.
const EPOCH: i64 = 730_425;
/// 400 years, after which the Gregorian calendar repeats.
const DAYS_PER_ERA: i64 = 146_097;

/// What a timestamp's text ends with, but for `BC`.
pub(in crate::value) const PLAIN: &str = "";
pub(in crate::value) const UTC: &str = "+00";

pub(in crate::value) fn date_to_text(image: &[u8]) -> Option<String> {
    Some(match i32::from_be_bytes(image.try_into().ok()?) {
        i32::MAX => "infinity".to_owned(),
        i32::MIN => "-infinity".to_owned(),
        days => {
            let (date, era) = day_to_text(days.into());
            date + era
        }
    })
}

pub(super) fn date_from_text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let days = match text {
        "infinity" => i32::MAX,
        "-infinity" => i32::MIN,
        _ => {
            let (date, is_bc) = without_era(text);
            i32::try_from(day_from_text(date, is_bc)?).ok()?
        }
    };
    out.extend(days.to_be_bytes());
    Some(())
}

pub(in crate::value) fn timestamp_to_text(image: &[u8], zone: &str) -> Option<String> {
    Some(match i64::from_be_bytes(image.try_into().ok()?) {
        i64::MAX => "infinity".to_owned(),
        i64::MIN => "-infinity".to_owned(),
        micros => {
            let (date, era) = day_to_text(micros.div_euclid(MICROS_PER_DAY));
            let time = clock::to_text(micros.rem_euclid(MICROS_PER_DAY).unsigned_abs());
            format!("{date} {time}{zone}{era}")
        }
    })
}

pub(super) fn timestamp_from_text(text: &str, zone: &str, out: &mut Vec<u8>) -> Option<()> {
    let micros = match text {
        "infinity" => i64::MAX,
        "-infinity" => i64::MIN,
        _ => {
            let (text, is_bc) = without_era(text);
            let (date, time) = text.strip_suffix(zone)?.split_once(' ')?;
            let time = i128::from(clock::from_text(time)?);
            // Wider, because the first day begins before the first microsecond.
            let day = i128::from(day_from_text(date, is_bc)?);
            i64::try_from(day * i128::from(MICROS_PER_DAY) + time).ok()?
        }
    };
    out.extend(micros.to_be_bytes());
    Some(())
}

fn without_era(text: &str) -> (&str, bool) {
    match text.strip_suffix(" BC") {
        Some(rest) => (rest, true),
        None => (text, false),
    }
}

/// The date and what follows it where the year is before the first: there is no year 0.
fn day_to_text(day: i64) -> (String, &'static str) {
    let (year, month, day) = civil(day);
    let (year, era) = if year > 0 {
        (year, "")
    } else {
        (1 - year, " BC")
    };
    (format!("{year:04}-{month:02}-{day:02}"), era)
}

fn day_from_text(date: &str, is_bc: bool) -> Option<i64> {
    let mut parts = date.splitn(3, '-');
    let year = i64::from(super::digits::<u32>(parts.next()?)?);
    let month: u8 = super::digits(parts.next()?)?;
    let day: u8 = super::digits(parts.next()?)?;
    let year = if is_bc { 1 - year } else { year };
    let number = day_number(year, month.into(), day.into());
    // A month or day that does not exist would be counted into another.
    (civil(number) == (year, month.into(), day.into())).then_some(number)
}

/// Year, month and day of the proleptic Gregorian calendar; years start in March here, so that the
/// leap day is the last one.
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + EPOCH;
    let era = day.div_euclid(DAYS_PER_ERA);
    let in_era = day.rem_euclid(DAYS_PER_ERA);
    let year = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * in_year + 2) / 153;
    let day_of_month = in_year - (153 * march_month + 2) / 5 + 1;
    let (month, carry) = if march_month < 10 {
        (march_month + 3, 0)
    } else {
        (march_month - 9, 1)
    };
    (era * 400 + year + carry, month, day_of_month)
}

/// The inverse of [`civil`].
fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let (year, march_month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let era = year.div_euclid(400);
    let in_era = year.rem_euclid(400);
    let in_year = (153 * march_month + 2) / 5 + day - 1;
    era * DAYS_PER_ERA + in_era * 365 + in_era / 4 - in_era / 100 + in_year - EPOCH
}
