//! JSON, read strictly (RFC 8259; I-JSON, RFC 7493): a member that stands twice is refused, since
//! readers do not agree on which one counts.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Value};

use super::{FieldError, Kind, Problem};

/// Reads a body. How deep it may be nested is the parser's own limit, 128.
pub(crate) fn json(text: &[u8]) -> Result<Value, Problem> {
    if text.is_empty() {
        let detail = "the body is empty, JSON was expected";
        return Err(Problem::new(Kind::Malformed, detail));
    }
    let mut pointer = String::new();
    let mut input = serde_json::Deserializer::from_slice(text);
    let parsed = Strict(&mut pointer).deserialize(&mut input);
    let whole = parsed.and_then(|value| input.end().map(|()| value));
    whole.map_err(|error| match error.classify() {
        Category::Data => duplicate(pointer),
        Category::Eof => malformed("the JSON text ends early", &error),
        Category::Syntax | Category::Io => malformed("the body is not JSON", &error),
    })
}

fn duplicate(pointer: String) -> Problem {
    let detail = "the member stands twice in its object";
    Problem::malformed_at(vec![FieldError::at(pointer, "duplicate", detail)])
}

/// Where and how the text is not JSON. The parser's own text is left out: it quotes the input.
fn malformed(what: &str, error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    Problem::new(
        Kind::Malformed,
        format!("{what}, at line {line} column {column}"),
    )
}

/// Reads a value that stands at this JSON pointer. After an error, the pointer is where it was.
struct Strict<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Value, D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        let length = self.0.len();
        loop {
            step(self.0, &array.len().to_string());
            let Some(element) = elements.next_element_seed(Strict(self.0))? else {
                break;
            };
            array.push(element);
            self.0.truncate(length);
        }
        self.0.truncate(length);
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        let length = self.0.len();
        while let Some(name) = members.next_key::<String>()? {
            step(self.0, &name);
            if object.contains_key(&name) {
                return Err(A::Error::custom("a member stands twice"));
            }
            let value = members.next_value_seed(Strict(self.0))?;
            object.insert(name, value);
            self.0.truncate(length);
        }
        Ok(object.into())
    }
}

/// Adds a token to a JSON pointer (RFC 6901, section 3).
fn step(pointer: &mut String, token: &str) {
    pointer.push('/');
    pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str) -> Value {
        let reply = json(text.as_bytes()).unwrap_err().reply("id", "/");
        assert_eq!(reply.status, 400);
        serde_json::from_slice(&reply.body).unwrap()
    }

    #[test]
    fn a_member_that_stands_twice_is_named() {
        for (text, pointer) in [
            (r#"{"a":1,"b":2,"a":1}"#, "/a"),
            (r#"{"a":1,"\u0061":2}"#, "/a"),
            (r#"{"x":[[],{"a/b~":{"c":1,"c":1}}]}"#, "/x/1/a~1b~0/c"),
            (r#"[{"a":1},{"a":1,"b":{"a":1},"a":[]}]"#, "/1/a"),
            (r#"{"":1,"":1}"#, "/"),
        ] {
            let problem = refused(text);
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{text}");
            assert_eq!(problem["errors"][0]["code"], "duplicate");
        }
    }

    #[test]
    fn everything_else_is_read_as_the_parser_reads_it() {
        for text in [
            "null",
            "[]",
            "{}",
            r#"{"a":[1,-1,1.5,1e300,18446744073709551615,true,null,"\ud83e\udd80",{"a":{}}]}"#,
            " [ 1 , 1 ] \n",
        ] {
            let plain: Value = serde_json::from_str(text).unwrap();
            assert_eq!(json(text.as_bytes()).unwrap(), plain);
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        let deep = "[".repeat(129) + &"]".repeat(129);
        for text in [
            "",
            "{} {}",
            "[1] x",
            "nul",
            "{\"a\":1,}",
            r#""\ud800""#,
            r#"{"\udc00":1}"#,
            "\"\t\"",
            "1e999",
            deep.as_str(),
        ] {
            assert!(refused(text).get("errors").is_none(), "{text}");
        }
        assert!(json(b"\"\xff\"").is_err());
        assert!(json(("[".repeat(127) + &"]".repeat(127)).as_bytes()).is_ok());
    }
}
