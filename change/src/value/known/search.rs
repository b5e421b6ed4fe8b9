//! `tsvector`. Layout of `tsvectorsend`: number of lexemes, then each as its text, a zero byte, the
//! number of its positions, and the positions: two bits of weight, fourteen of place.

use super::{digits, take};

/// From the lowest weight, which is not printed, to the highest.
const WEIGHTS: [&str; 4] = ["", "C", "B", "A"];
const PLACE: u16 = 0x3FFF;

pub(super) fn to_text(image: &[u8]) -> Option<String> {
    let mut rest = image;
    let count = u32::from_be_bytes(take(&mut rest)?);
    let mut text = String::new();
    // Ends at the image's end, whatever the count claims.
    for place in 0..count {
        if place > 0 {
            text.push(' ');
        }
        let end = rest.iter().position(|byte| *byte == 0)?;
        let (lexeme, after) = rest.split_at_checked(end)?;
        rest = after.get(1..)?;
        text.push('\'');
        for character in std::str::from_utf8(lexeme).ok()?.chars() {
            if matches!(character, '\'' | '\\') {
                text.push(character);
            }
            text.push(character);
        }
        text.push('\'');
        let positions = u16::from_be_bytes(take(&mut rest)?);
        for place in 0..positions {
            let position = u16::from_be_bytes(take(&mut rest)?);
            let weight = WEIGHTS.get(usize::from(position >> 14))?;
            let mark = if place == 0 { ':' } else { ',' };
            text.push_str(&format!("{mark}{}{weight}", position & PLACE));
        }
    }
    rest.is_empty().then_some(text)
}

pub(super) fn from_text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let mut lexemes = Vec::new();
    let mut count = 0_u32;
    let mut rest = text;
    while !rest.is_empty() {
        if count > 0 {
            rest = rest.strip_prefix(' ')?;
        }
        rest = put_lexeme(rest.strip_prefix('\'')?, &mut lexemes)?;
        let end = rest.find(' ').unwrap_or(rest.len());
        let (positions, after) = rest.split_at_checked(end)?;
        put_positions(positions, &mut lexemes)?;
        rest = after;
        count = count.checked_add(1)?;
    }
    out.extend(count.to_be_bytes());
    out.extend(lexemes);
    Some(())
}

/// Appends the lexeme up to its closing quote and answers what follows that.
fn put_lexeme<'a>(text: &'a str, out: &mut Vec<u8>) -> Option<&'a str> {
    let mut rest = text;
    loop {
        let (plain, special) = rest.split_at_checked(rest.find(['\'', '\\', '\0'])?)?;
        out.extend_from_slice(plain.as_bytes());
        if let Some(after) = special.strip_prefix("''") {
            out.push(b'\'');
            rest = after;
        } else if let Some(after) = special.strip_prefix("\\\\") {
            out.push(b'\\');
            rest = after;
        } else {
            out.push(0);
            return special.strip_prefix('\'');
        }
    }
}

fn put_positions(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let mut positions = Vec::new();
    if !text.is_empty() {
        for position in text.strip_prefix(':')?.split(',') {
            let place: u16 = digits(position.trim_end_matches(['A', 'B', 'C']))?;
            let weight: u16 = match position.bytes().last()? {
                b'A' => 3,
                b'B' => 2,
                b'C' => 1,
                _ => 0,
            };
            if place > PLACE {
                return None;
            }
            positions.push(weight << 14 | place);
        }
    }
    out.extend(u16::try_from(positions.len()).ok()?.to_be_bytes());
    for position in positions {
        out.extend(position.to_be_bytes());
    }
    Some(())
}
