//! `int2vector` and `oidvector`, as system catalogs have them: arrays that start at 0.
//!
//! Of an empty one, Postgres does not take back what it sends ("invalid int2vector data"): so the
//! target is given the text, in which a space stands between the numbers.

use super::{ValueError, fixed};

/// Number of dimensions, flags, the elements' OID, length and lower bound (`array_send`).
const HEAD_BYTES: usize = 5 * 4;
/// Before each element.
const LENGTH_BYTES: usize = 4;

pub(super) fn int2(image: &[u8]) -> Result<String, ValueError> {
    to_text(image, "int2vector", |number| {
        i16::from_be_bytes(number).to_string()
    })
}

pub(super) fn oid(image: &[u8]) -> Result<String, ValueError> {
    to_text(image, "oidvector", |number| {
        u32::from_be_bytes(number).to_string()
    })
}

fn to_text<const N: usize>(
    image: &[u8],
    expected: &'static str,
    number: fn([u8; N]) -> String,
) -> Result<String, ValueError> {
    let malformed = || ValueError::Image {
        expected,
        length: image.len(),
    };
    let items = image.get(HEAD_BYTES..).ok_or_else(malformed)?;
    let mut text = String::new();
    for item in items.chunks(LENGTH_BYTES + N) {
        if !text.is_empty() {
            text.push(' ');
        }
        let bytes = item.get(LENGTH_BYTES..).ok_or_else(malformed)?;
        text.push_str(&number(fixed(bytes, expected)?));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_behind_each_other() {
        let head = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 21, 0, 0, 0, 2, 0, 0, 0, 0];
        let image = [&head[..], &[0, 0, 0, 2, 0, 7, 0, 0, 0, 2, 0xFF, 0xFE]].concat();
        assert_eq!(int2(&image).as_deref(), Ok("7 -2"));
        assert_eq!(oid(&head).as_deref(), Ok(""));
        assert!(int2(&image[..image.len() - 1]).is_err());
        assert!(oid(&head[1..]).is_err());
    }
}
