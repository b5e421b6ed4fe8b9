//! Query strings, taken strictly: every parameter is known, stands once and is well formed.

use std::fmt::Write;

use super::{FieldError, Problem};

/// The parameters of a query string, each taken by who knows it.
#[derive(Debug)]
pub(crate) struct Query {
    parameters: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let mut query = Self {
            parameters: Vec::new(),
            errors: Vec::new(),
        };
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (decoded(name), decoded(value)) {
                (Some(name), Some(value)) => query.add(name, value),
                (Some(name), None) => {
                    query.refuse(&name, "malformed", "it is not percent-encoded UTF-8");
                }
                (None, _) => query.refuse("", "malformed", "a name is not percent-encoded UTF-8"),
            }
        }
        query
    }

    fn add(&mut self, name: String, value: String) {
        if self.parameters.iter().any(|(known, _)| *known == name) {
            self.refuse(&name, "repeated", "it may stand once");
        } else {
            self.parameters.push((name, value));
        }
    }

    pub(crate) fn refuse(&mut self, name: &str, code: &'static str, detail: &str) {
        self.errors
            .push(FieldError::of_parameter(name, code, detail));
    }

    /// Takes a parameter out of the query, parsed; what is wrong with it is kept for [`Self::end`].
    pub(crate) fn take<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let at = self
            .parameters
            .iter()
            .position(|(known, _)| known == name)?;
        let (name, value) = self.parameters.swap_remove(at);
        match parse(&value) {
            Ok(value) => Some(value),
            Err(rule) => {
                self.refuse(&name, "invalid", &rule);
                None
            }
        }
    }

    /// Refuses the query when anything was wrong or is left over.
    pub(crate) fn end(mut self) -> Result<(), Problem> {
        for (name, _) in std::mem::take(&mut self.parameters) {
            self.refuse(&name, "unknown", "there is no such parameter here");
        }
        match self.errors.is_empty() {
            true => Ok(()),
            false => Err(Problem::bad_parameters(self.errors)),
        }
    }
}

/// Decodes one name or value of `application/x-www-form-urlencoded`.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut input = text.bytes();
    while let Some(byte) = input.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(input.next()?)?, digit(input.next()?)?);
                bytes.push(u8::try_from(high * 16 + low).ok()?);
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Encodes a value for a query string.
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            // The unreserved characters of RFC 3986, section 2.3.
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            // Writing to a String cannot fail.
            byte => _ = write!(encoded, "%{byte:02X}"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    proptest! {
        #[test]
        fn any_value_survives(value in any::<String>()) {
            let mut query = Query::parse(&format!("q={}", encoded(&value)));
            let taken = query.take("q", |text| Ok(text.to_owned()));
            assert_eq!(taken, Some(value));
            assert!(query.end().is_ok());
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in any::<String>()) {
            Query::parse(&text).end().ok();
        }
    }

    #[track_caller]
    fn refused(text: &str) {
        let mut query = Query::parse(text);
        query.take("page", |text| {
            text.parse::<u8>().map_err(|error| error.to_string())
        });
        assert!(query.end().is_err(), "{text}");
    }

    #[test]
    fn what_is_wrong_is_refused() {
        refused("page=1&page=2");
        refused("page=x");
        refused("page=300");
        refused("page");
        refused("page=%zz");
        refused("page=%f0");
        refused("pgae=1");
        refused("page=1&x");
    }

    #[test]
    fn plus_and_escapes_are_decoded() {
        assert_eq!(decoded("a+b%20%C3%bc").as_deref(), Some("a b ü"));
    }
}
