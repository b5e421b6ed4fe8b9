//! Types of the target that hold every value of a type of the source, and give it back.
//!
//! Types are as `format_type` writes them, with their modifiers.

/// Whether every value of `source` goes into `target` and is the same there.
pub fn widens(source: &str, target: &str) -> bool {
    if source == target {
        return true;
    }
    let (from, to) = (Type::of(source), Type::of(target));
    match (from.base.as_str(), to.base.as_str()) {
        ("smallint", "integer" | "bigint")
        | ("integer", "bigint")
        | ("real", "double precision")
        | ("character varying", "text") => true,
        ("text", "character varying") => to.modifiers.is_empty(),
        ("smallint", "numeric") => to.holds(5, 0),
        ("integer", "numeric") => to.holds(10, 0),
        ("bigint", "numeric") => to.holds(19, 0),
        ("numeric", "numeric") => match from.modifiers[..] {
            [precision, scale] => to.holds(precision - scale, scale),
            _ => to.modifiers.is_empty(),
        },
        (from_base, to_base) => {
            from_base == to_base && is_bounded(from_base) && from.is_no_longer_than(&to)
        }
    }
}

/// Whether values of `source` could lose digits in `target` without an error.
pub(crate) fn rounds(source: &str, target: &str) -> bool {
    let base = Type::of(target).base;
    (base == "numeric" || is_time(&base)) && !widens(source, target)
}

struct Type {
    base: String,
    modifiers: Vec<i32>,
}

impl Type {
    /// `timestamp(3) without time zone` is `timestamp without time zone` with the modifier 3.
    fn of(name: &str) -> Self {
        let unmodified = || Self {
            base: name.to_owned(),
            modifiers: Vec::new(),
        };
        let Some((start, rest)) = name.split_once('(') else {
            return unmodified();
        };
        let Some((modifiers, end)) = rest.split_once(')') else {
            return unmodified();
        };
        let modifiers: Result<Vec<i32>, _> = modifiers.split(',').map(str::parse).collect();
        match modifiers {
            Ok(modifiers) => Self {
                base: format!("{start}{end}"),
                modifiers,
            },
            Err(_) => unmodified(),
        }
    }

    /// Of a numeric: so many digits before the point, and so many behind it.
    fn holds(&self, before: i32, behind: i32) -> bool {
        match self.modifiers[..] {
            [] => true,
            [precision, scale] => precision - scale >= before && scale >= behind,
            _ => false,
        }
    }

    fn is_no_longer_than(&self, other: &Self) -> bool {
        match (&self.modifiers[..], &other.modifiers[..]) {
            (_, []) => true,
            ([one], [other]) => one <= other,
            (_, _) => false,
        }
    }
}

/// Whether the modifier is a limit, and none is none. Of char and bit, none is 1.
fn is_bounded(base: &str) -> bool {
    ["character varying", "bit varying"].contains(&base) || is_time(base)
}

fn is_time(base: &str) -> bool {
    ["timestamp", "time", "interval"]
        .iter()
        .any(|kind| base.split(' ').next() == Some(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_hold_every_value_are_wider() {
        for (source, target) in [
            ("integer", "integer"),
            ("smallint", "bigint"),
            ("integer", "numeric(10,0)"),
            ("bigint", "numeric"),
            ("real", "double precision"),
            ("numeric(10,2)", "numeric(12,4)"),
            ("numeric(10,2)", "numeric"),
            ("numeric(3,-2)", "numeric(5,0)"),
            ("character varying(20)", "text"),
            ("character varying(20)", "character varying"),
            (
                "timestamp(3) without time zone",
                "timestamp without time zone",
            ),
            ("interval(0)", "interval(3)"),
        ] {
            assert!(widens(source, target), "{source} {target}");
        }
    }

    #[test]
    fn types_that_lack_some_are_not() {
        for (source, target) in [
            ("bigint", "integer"),
            ("integer", "numeric(9,0)"),
            ("integer", "numeric(12,3)"),
            ("integer", "text"),
            ("double precision", "real"),
            ("numeric", "numeric(30,10)"),
            ("numeric(10,2)", "numeric(11,4)"),
            ("numeric(10,2)", "numeric(10,1)"),
            ("text", "character varying(20)"),
            ("character varying", "character varying(20)"),
            ("character(3)", "character(5)"),
            (
                "timestamp without time zone",
                "timestamp(3) without time zone",
            ),
            ("timestamp without time zone", "timestamp with time zone"),
            ("integer[]", "bigint[]"),
        ] {
            assert!(!widens(source, target), "{source} {target}");
        }
    }

    #[test]
    fn only_some_narrower_types_lose_digits_silently() {
        assert!(rounds("numeric(10,2)", "numeric(10,1)"));
        assert!(rounds("time with time zone", "time(0) with time zone"));
        assert!(!rounds("numeric(10,2)", "numeric"));
        assert!(!rounds("character varying(9)", "character varying(3)"));
    }
}
