//! Names that Avro allows, for names that Postgres allows.

use std::fmt::Write;

/// `name` as an Avro name (`[A-Za-z_][A-Za-z0-9_]*`), reversibly: a character that is not allowed
/// where it stands becomes `_x<hexadecimal code point>_`. A `_` that an `x` follows is escaped too,
/// so that nothing else looks like an escape. Hence no escaped name starts with `_x_`, which is
/// free for names of our own.
pub fn escaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut characters = name.chars().peekable();
    while let Some(character) = characters.next() {
        let first = out.is_empty();
        let plain = match character {
            '_' => characters.peek() != Some(&'x'),
            '0'..='9' => !first,
            other => other.is_ascii_alphabetic(),
        };
        if plain {
            out.push(character);
        } else {
            write!(out, "_x{:x}_", u32::from(character)).expect("writing to a String cannot fail");
        }
    }
    out
}

/// The name that [`escaped`] made `name` from; `None` when it made it from none.
pub fn unescaped(name: &str) -> Option<String> {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(start) = rest.find("_x") {
        out.push_str(&rest[..start]);
        let (code, after) = rest[start + 2..].split_once('_')?;
        out.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
        rest = after;
    }
    out.push_str(rest);
    (escaped(&out) == name).then_some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(name: &str, expected: &str) {
        assert_eq!(escaped(name), expected);
        assert_eq!(unescaped(expected).as_deref(), Some(name));
    }

    #[test]
    fn names_stay_readable() {
        check("title", "title");
        check("created_at", "created_at");
        check("weird-näme", "weird_x2d_n_xe4_me");
        check("1st", "_x31_st");
        check("_x", "_x5f_x");
        check("a_xy", "a_x5f_xy");
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name in "[_x0-9a-zÄ\"。 ]{1,12}") {
            let escaped = escaped(&name);
            prop_assert!(escaped.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
            prop_assert!(!escaped.starts_with(|c: char| c.is_ascii_digit()));
            prop_assert!(!escaped.starts_with("_x_"));
            prop_assert_eq!(unescaped(&escaped), Some(name));
        }
    }
}
