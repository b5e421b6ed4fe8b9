//! Splits a connection string into what `tokio_postgres` parses and what it does not know.

use super::DsnError;

/// A parameter that is ours.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) value: String,
}

/// Parameters that `tokio_postgres` does not take, or not with all of libpq's values.
const OURS: [&str; 6] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "passfile",
    "sslcrl",
];

/// Takes our parameters out of a connection string and returns the rest of it.
pub(super) fn take(text: &str) -> Result<(String, Vec<Parameter>), DsnError> {
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        from_url(text)
    } else {
        from_keywords(text)
    }
}

fn ours(name: &str) -> Option<&'static str> {
    OURS.into_iter().find(|ours| *ours == name)
}

fn from_url(text: &str) -> Result<(String, Vec<Parameter>), DsnError> {
    let Some((base, query)) = text.split_once('?') else {
        return Ok((text.to_owned(), Vec::new()));
    };
    let mut rest = Vec::new();
    let mut taken = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair
            .split_once('=')
            .ok_or(DsnError::Syntax("a parameter of the URL has no '='"))?;
        match ours(name) {
            Some(name) => taken.push(Parameter {
                name,
                value: percent_decoded(value)?,
            }),
            None => rest.push(pair),
        }
    }
    let rest = match rest.is_empty() {
        true => base.to_owned(),
        false => format!("{base}?{}", rest.join("&")),
    };
    Ok((rest, taken))
}

fn percent_decoded(text: &str) -> Result<String, DsnError> {
    const WRONG: DsnError = DsnError::Syntax("a '%' is not followed by two hexadecimal digits");
    let mut bytes = Vec::with_capacity(text.len());
    let mut input = text.bytes();
    while let Some(byte) = input.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [input.next().ok_or(WRONG)?, input.next().ok_or(WRONG)?];
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(WRONG);
        }
        let digits = std::str::from_utf8(&digits).map_err(|_| WRONG)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| WRONG)?);
    }
    String::from_utf8(bytes).map_err(|_| DsnError::Syntax("a parameter is not UTF-8"))
}

fn from_keywords(text: &str) -> Result<(String, Vec<Parameter>), DsnError> {
    let mut rest = String::new();
    let mut taken = Vec::new();
    let mut input = text.trim_start();
    while !input.is_empty() {
        let (name, after) = input
            .split_once('=')
            .ok_or(DsnError::Syntax("expected keyword=value"))?;
        let (value, after) = keyword_value(after.trim_start())?;
        match ours(name.trim_end()) {
            Some(name) => taken.push(Parameter { name, value }),
            None => {
                let value = value.replace('\\', r"\\").replace('\'', r"\'");
                rest.push_str(&format!("{}='{value}' ", name.trim_end()));
            }
        }
        input = after.trim_start();
    }
    Ok((rest, taken))
}

/// One value and what follows it. Values with blanks are quoted; a backslash takes the next
/// character as it is, in and out of quotes.
fn keyword_value(text: &str) -> Result<(String, &str), DsnError> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut characters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some((_, escaped)) => value.push(escaped),
                None => return Err(DsnError::Syntax("a backslash stands at the end")),
            },
            '\'' if quoted => {
                let after = text.get(at + 1..).unwrap_or_default();
                return Ok((value, after));
            }
            blank if blank.is_whitespace() && !quoted => {
                let after = text.get(at..).unwrap_or_default();
                return Ok((value, after));
            }
            character => value.push(character),
        }
    }
    match quoted {
        true => Err(DsnError::Syntax("a quote is not closed")),
        false => Ok((value, "")),
    }
}
