//! Values of base types, and of domains with a check, in their text form.

use std::fmt::Write;

use super::Size;
use crate::random::Random;

/// The text of a value of the type with this name; `None` when nobody knows the type.
pub(super) fn of(type_name: &str, random: &mut Random, size: Size) -> Option<String> {
    let text = match type_name {
        "bool" => random.pick(&["t", "f"]).to_string(),
        "int2" => integer(random, i64::from(i16::MIN), i64::from(i16::MAX)),
        "int4" => integer(random, i64::from(i32::MIN), i64::from(i32::MAX)),
        "int8" => integer(random, i64::MIN, i64::MAX),
        "cardinal_number" => integer(random, 0, i64::from(i32::MAX)),
        "oid" | "xid" | "cid" | "lo" => natural(random, u64::from(u32::MAX)),
        "xid8" => natural(random, u64::MAX),
        "regproc" | "regprocedure" | "regoper" | "regoperator" | "regclass" | "regcollation"
        | "regtype" | "regrole" | "regnamespace" | "regconfig" | "regdictionary"
        | "regdatabase" => natural(random, u64::from(u32::MAX)),
        "float4" => single(random),
        "float8" => float(random),
        "numeric" => numeric(random, size),
        "money" => money(random),
        "text" | "varchar" | "bpchar" | "refcursor" | "citext" => text(random, size),
        "name" => bytes_up_to(&text(random, Size::Key), 63),
        "char" => random.pick(&["", "a", " ", "\\", "'", "~"]).to_string(),
        "yes_or_no" => random.pick(&["YES", "NO"]).to_string(),
        "bytea" => {
            let bytes = length(random, size);
            format!("\\x{}", hex(random, bytes))
        }
        "uuid" => hex(random, 16),
        "json" | "jsonb" => json(random, 3),
        "jsonpath" => jsonpath(random),
        "xml" => xml(random),
        "date" => date(random, 5_874_897),
        "time" => time(random),
        "timetz" => format!("{}{}", time(random), zone(random)),
        "timestamp" => timestamp(random, ""),
        "timestamptz" => timestamp(random, "+00"),
        "interval" => interval(random),
        "inet" => inet(random, Host::Kept),
        "cidr" => inet(random, Host::Zero),
        "macaddr" => hex(random, 6),
        "macaddr8" => hex(random, 8),
        "bit" | "varbit" => bits(random),
        "pg_lsn" => format!("{:X}/{:X}", half(random), half(random)),
        "tid" => format!("({},{})", half(random), random.below(65_536)),
        "aclitem" => acl(random),
        "int2vector" => vector(random, size, |it| integer(it, -32_768, 32_767)),
        "oidvector" => vector(random, size, |it| natural(it, u64::from(u32::MAX))),
        "txid_snapshot" | "pg_snapshot" => snapshot(random),
        "tsvector" => tsvector(random),
        "tsquery" => tsquery(random, 3),
        _ => return geometric(type_name, random).or_else(|| contrib(type_name, random)),
    };
    Some(text)
}

/// A value of a discrete type that has neighbours.
pub(super) fn small(type_name: &str, random: &mut Random) -> String {
    match type_name {
        "date" => format!(
            "{:04}-{:02}-{:02}",
            1 + random.below(9_999),
            1 + random.below(12),
            1 + random.below(28)
        ),
        _ => integer(random, -1_000_000, 1_000_000),
    }
}

fn geometric(type_name: &str, random: &mut Random) -> Option<String> {
    let point = |random: &mut Random| format!("({},{})", float(random), float(random));
    let points = |random: &mut Random| {
        let points: Vec<String> = (0..=random.below(4)).map(|_| point(random)).collect();
        points.join(",")
    };
    Some(match type_name {
        "point" => point(random),
        // Not both of the first two may be zero.
        "line" => format!(
            "{{{},{},{}}}",
            1 + random.below(1_000_000),
            float(random),
            float(random)
        ),
        "lseg" => format!("[{},{}]", point(random), point(random)),
        "box" => format!("{},{}", point(random), point(random)),
        "path" if random.one_in(2) => format!("[{}]", points(random)),
        "path" | "polygon" => format!("({})", points(random)),
        "circle" => format!(
            "<{},{}>",
            point(random),
            float(random).trim_start_matches('-')
        ),
        _ => return None,
    })
}

/// Types of the extensions that come with Postgres.
fn contrib(type_name: &str, random: &mut Random) -> Option<String> {
    Some(match type_name {
        "hstore" => hstore(random),
        "ltree" => {
            let labels = (0..random.below(5)).map(|_| label(random));
            labels.collect::<Vec<_>>().join(".")
        }
        "lquery" => format!(
            "{}.*{{1,{}}}.!{}@*",
            label(random),
            1 + random.below(9),
            label(random)
        ),
        "ltxtquery" => format!(
            "{} & !{}*@ | {}%",
            label(random),
            label(random),
            label(random)
        ),
        "cube" => cube(random),
        "seg" => seg(random),
        "query_int" => format!(
            "{}&({}|!{})",
            random.below(99),
            random.below(99),
            random.below(99)
        ),
        "ean13" => ean("4", random),
        "upc" => ean("0", random),
        "isbn" | "isbn13" => ean("9780", random),
        "ismn" | "ismn13" => ean("9790", random),
        "issn" | "issn13" => ean("977", random),
        _ => return None,
    })
}

fn integer(random: &mut Random, low: i64, high: i64) -> String {
    match random.below(6) {
        0 => low.to_string(),
        1 => high.to_string(),
        2 => "0".to_owned(),
        _ => {
            let span = i128::from(high) - i128::from(low) + 1;
            (i128::from(low) + i128::from(random.number()) % span).to_string()
        }
    }
}

fn natural(random: &mut Random, high: u64) -> String {
    match random.below(5) {
        0 => "0".to_owned(),
        1 => high.to_string(),
        _ => (random.number() & high).to_string(),
    }
}

fn half(random: &mut Random) -> u64 {
    random.below(1 << 32)
}

const SPECIAL_FLOATS: [&str; 8] = [
    "NaN",
    "Infinity",
    "-Infinity",
    "0",
    "-0",
    "1e23",
    "0.1",
    "-1",
];

fn float(random: &mut Random) -> String {
    let value = f64::from_bits(random.number());
    match random.below(4) {
        0 => random.pick(&SPECIAL_FLOATS).to_string(),
        1 => random
            .pick(&[
                "5e-324",
                "1.7976931348623157e308",
                "2.2250738585072014e-308",
            ])
            .to_string(),
        _ if value.is_nan() => "NaN".to_owned(),
        _ => format!("{value:e}"),
    }
}

fn single(random: &mut Random) -> String {
    let bits = u32::try_from(half(random)).expect("32 bits");
    let value = f32::from_bits(bits);
    match random.below(4) {
        0 => random.pick(&SPECIAL_FLOATS).to_string(),
        1 => random
            .pick(&["1e-45", "3.4028235e38", "1.17549435e-38"])
            .to_string(),
        _ if value.is_nan() => "NaN".to_owned(),
        _ => format!("{value:e}"),
    }
}

fn numeric(random: &mut Random, size: Size) -> String {
    let digits = |random: &mut Random, count: u64| {
        (0..count)
            .map(|_| char::from(b'0' + u8::try_from(random.below(10)).expect("a digit")))
            .collect::<String>()
    };
    let sign = *random.pick(&["", "-"]);
    match (random.below(12), size) {
        (0, _) => random
            .pick(&["NaN", "Infinity", "-Infinity", "0", "0.000"])
            .to_string(),
        // The longest: `NUMERIC_WEIGHT_MAX` and `NUMERIC_DSCALE_MAX` (numeric.c).
        (1, Size::Any) => format!(
            "{sign}9{}.{}",
            digits(random, 131_071),
            digits(random, 16_383)
        ),
        (2, Size::Any) => format!("{sign}1e-16383"),
        _ => {
            let (before, after) = (random.below(30), random.below(30));
            format!(
                "{sign}0{}.{}0",
                digits(random, before),
                digits(random, after)
            )
        }
    }
}

fn money(random: &mut Random) -> String {
    let cents = random.number().cast_signed();
    let sign = if cents < 0 { "-" } else { "" };
    let cents = cents.unsigned_abs();
    format!("{sign}{}.{:02}", cents / 100, cents % 100)
}

/// How many bytes or characters.
fn length(random: &mut Random, size: Size) -> u64 {
    match size {
        Size::Any if random.one_in(8) => 3_000 + random.below(3_000),
        Size::Any | Size::Key => random.below(16),
    }
}

/// Characters of every plane, and those that SQL, COPY, arrays and JSON treat in some way.
fn text(random: &mut Random, size: Size) -> String {
    let special = [
        '\'',
        '"',
        '\\',
        '{',
        '}',
        ',',
        '(',
        ')',
        '\t',
        '\n',
        '\r',
        ' ',
        '\u{1}',
        '\u{7f}',
        '\u{feff}',
        '\u{10ffff}',
    ];
    (0..length(random, size))
        .map(|_| {
            let range = match random.below(5) {
                0 => return *random.pick(&special),
                1 | 2 => 0x20..0x7F,
                3 => 0xA0..0x3000,
                _ => {
                    let plane = u32::try_from(random.below(17)).expect("few") << 16;
                    plane.max(1)..plane + 0x1_0000
                }
            };
            let code = range.start
                + u32::try_from(random.below(u64::from(range.end - range.start))).expect("less");
            // What is left out are surrogates, which are no characters.
            char::from_u32(code).unwrap_or('語')
        })
        .collect()
}

fn bytes_up_to(text: &str, limit: usize) -> String {
    let mut kept = text.to_owned();
    while kept.len() > limit {
        kept.pop();
    }
    kept
}

fn hex(random: &mut Random, bytes: u64) -> String {
    (0..bytes)
        .map(|_| format!("{:02x}", random.below(256)))
        .collect()
}

/// With spaces and doubled keys, which json keeps and jsonb does not.
fn json(random: &mut Random, depth: u8) -> String {
    let quoted = |random: &mut Random| serde_json::Value::from(text(random, Size::Key)).to_string();
    match random.below(if depth == 0 { 4 } else { 6 }) {
        0 => random
            .pick(&["true", "false", "null", "[]", "{}"])
            .to_string(),
        1 => random
            .pick(&[
                "0",
                "-0",
                "1.50",
                "-1e-7",
                "1E+30",
                "12345678901234567890.123",
            ])
            .to_string(),
        2 | 3 => quoted(random),
        4 => {
            let items: Vec<String> = (0..random.below(4))
                .map(|_| json(random, depth - 1))
                .collect();
            format!("[{}]", items.join(" ,"))
        }
        _ => {
            let pairs = (0..random.below(4)).map(|_| {
                let key = match random.one_in(2) {
                    true => "\"again\"".to_owned(),
                    false => quoted(random),
                };
                format!("{key} : {}", json(random, depth - 1))
            });
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(","))
        }
    }
}

fn jsonpath(random: &mut Random) -> String {
    let number = random.below(1_000);
    let paths = [
        format!("$.a[*] ? (@ > {number})"),
        format!("strict $.\"ü{number}\".**{{2 to last}}.type()"),
        format!("lax $[{number}, last - 1 to last] + -1.50"),
        format!("$ ? (@.b like_regex \"^{number}\" flag \"i\" && exists (@.c))"),
    ];
    random.pick(&paths).clone()
}

fn xml(random: &mut Random) -> String {
    let number = random.below(1_000);
    let documents = [
        format!("<a b=\"{number}\">ü &amp; 🐘<c/></a>"),
        format!("<?xml version=\"1.0\" standalone=\"yes\"?><r>{number}</r>"),
        format!("only text {number}"),
        format!("<!-- two roots --><a/><b><![CDATA[<{number}>]]></b>"),
    ];
    random.pick(&documents).clone()
}

fn date(random: &mut Random, last_year: u64) -> String {
    if random.one_in(5) {
        return random.pick(&["infinity", "-infinity"]).to_string();
    }
    let day = format!("{:02}-{:02}", 1 + random.below(12), 1 + random.below(28));
    match random.below(4) {
        0 => format!("{:04}-{day} BC", 1 + random.below(4_713)),
        1 => format!("{:04}-{day}", 1 + random.below(last_year)),
        _ => format!("{:04}-{day}", 1 + random.below(3_000)),
    }
}

fn time(random: &mut Random) -> String {
    match random.below(6) {
        0 => "24:00:00".to_owned(),
        1 => "00:00:00".to_owned(),
        _ => format!(
            "{:02}:{:02}:{:02}.{:06}",
            random.below(24),
            random.below(60),
            random.below(60),
            random.below(1_000_000)
        ),
    }
}

fn zone(random: &mut Random) -> String {
    let sign = random.pick(&["+", "-"]);
    format!(
        "{sign}{:02}:{:02}:{:02}",
        random.below(16),
        random.below(60),
        random.below(60)
    )
}

fn timestamp(random: &mut Random, zone: &str) -> String {
    let date = date(random, 294_276);
    match date.strip_suffix(" BC") {
        _ if date.ends_with("infinity") => date,
        Some(date) => format!("{date} {}{zone} BC", time(random)),
        None => format!("{date} {}{zone}", time(random)),
    }
}

fn interval(random: &mut Random) -> String {
    let sign = |random: &mut Random| *random.pick(&["", "-"]);
    let mut part = |unit: &str, limit: u64| match random.one_in(3) {
        true => String::new(),
        false => format!("{}{} {unit} ", sign(random), random.below(limit)),
    };
    let (months, days) = (part("mons", 2_000_000_000), part("days", 2_147_483_648));
    let time = format!(
        "{}{}:{:02}:{:02}.{:06}",
        sign(random),
        random.below(2_562_047_788),
        random.below(60),
        random.below(60),
        random.below(1_000_000)
    );
    format!("{months}{days}{time}")
}

/// What becomes of the bits behind the network's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Host {
    Kept,
    Zero,
}

fn inet(random: &mut Random, host: Host) -> String {
    let (width, address) = match random.one_in(2) {
        true => (32, u128::from(half(random))),
        false => (
            128,
            u128::from(random.number()) << 64
                | u128::from(*random.pick(&[0_u64, 1, 0xFFFF_0102_0304])),
        ),
    };
    let bits = u32::try_from(random.below(u64::from(width) + 1)).expect("few");
    let kept = match host {
        Host::Kept => address,
        Host::Zero => address >> (width - bits).min(127) << (width - bits).min(127),
    };
    // A shift by all of 128 bits is none: such a network has no bits at all.
    let kept = if host == Host::Zero && bits == 0 {
        0
    } else {
        kept
    };
    let bytes = kept.to_be_bytes();
    match width {
        32 => format!(
            "{}.{}.{}.{}/{bits}",
            bytes[12], bytes[13], bytes[14], bytes[15]
        ),
        _ => format!("{}/{bits}", std::net::Ipv6Addr::from(bytes)),
    }
}

fn bits(random: &mut Random) -> String {
    (0..random.below(40))
        .map(|_| *random.pick(&['0', '1']))
        .collect()
}

/// Roles that every server has.
fn acl(random: &mut Random) -> String {
    let grants = [
        "=r/pg_monitor",
        "pg_monitor=arwdDxt/pg_monitor",
        "pg_signal_backend=r*w*/pg_monitor",
    ];
    random.pick(&grants).to_string()
}

fn vector(random: &mut Random, size: Size, mut item: impl FnMut(&mut Random) -> String) -> String {
    // In arrays and rows, Postgres does not take back what it sends of an empty one.
    let least = if size == Size::Key { 1 } else { 0 };
    let items: Vec<String> = (0..least + random.below(5)).map(|_| item(random)).collect();
    items.join(" ")
}

fn snapshot(random: &mut Random) -> String {
    let xmin = 1 + random.below(1 << 40);
    let running = (0..random.below(4)).map(|place| (xmin + place * 3).to_string());
    let running: Vec<String> = running.collect();
    format!("{xmin}:{}:{}", xmin + 50, running.join(","))
}

fn lexeme(random: &mut Random) -> String {
    let word = format!("w{}", text(random, Size::Key));
    format!("'{}'", word.replace('\\', "\\\\").replace('\'', "''"))
}

fn tsvector(random: &mut Random) -> String {
    let mut lexemes = String::new();
    for _ in 0..random.below(5) {
        lexemes.push_str(&lexeme(random));
        for place in 0..random.below(3) {
            let mark = if place == 0 { ':' } else { ',' };
            let weight = random.pick(&["A", "B", "C", "D", ""]);
            write!(lexemes, "{mark}{}{weight}", 1 + random.below(16_383)).expect("to a String");
        }
        lexemes.push(' ');
    }
    lexemes
}

fn tsquery(random: &mut Random, depth: u8) -> String {
    if depth == 0 || random.one_in(4) {
        return format!(
            "{}{}",
            lexeme(random),
            random.pick(&["", ":*", ":AB", ":*C"])
        );
    }
    let mut part = || tsquery(random, depth - 1);
    let (a, b) = (part(), part());
    match random.below(5) {
        0 => format!("!({a})"),
        1 => format!("({a}) & ({b})"),
        2 => format!("({a}) | ({b})"),
        3 => format!("({a}) <-> ({b})"),
        _ => format!("({a}) <{}> ({b})", random.below(16_384)),
    }
}

fn hstore(random: &mut Random) -> String {
    let quoted = |random: &mut Random| {
        let text = text(random, Size::Key);
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    };
    let pairs = (0..random.below(4)).map(|_| {
        let value = match random.one_in(3) {
            true => "NULL".to_owned(),
            false => quoted(random),
        };
        format!("{}=>{value}", quoted(random))
    });
    pairs.collect::<Vec<_>>().join(", ")
}

fn label(random: &mut Random) -> String {
    let bytes = 1 + random.below(4);
    format!("L_{}", hex(random, bytes))
}

fn cube(random: &mut Random) -> String {
    let dimensions = 1 + random.below(4);
    let mut corner = || {
        let places: Vec<String> = (0..dimensions).map(|_| float(random)).collect();
        format!("({})", places.join(","))
    };
    format!("{},{}", corner(), corner())
}

/// The number of digits is a part of the value.
fn seg(random: &mut Random) -> String {
    let number = random.below(1_000);
    let intervals = [
        format!("{number}.00"),
        format!("~{number}.5"),
        format!("<{number}"),
        format!("{number}.0 .. {}.500", number + 1),
        format!("{number} .."),
    ];
    random.pick(&intervals).clone()
}

/// Thirteen digits, of which the last checks the others.
fn ean(prefix: &str, random: &mut Random) -> String {
    let mut digits = prefix.to_owned();
    while digits.len() < 10 {
        write!(digits, "{}", random.below(10)).expect("to a String");
    }
    digits.push_str("00");
    let weighted = (0..)
        .zip(digits.bytes())
        .map(|(place, digit)| u32::from(digit - b'0') * if place % 2 == 0 { 1 } else { 3 });
    let check = (10 - weighted.sum::<u32>() % 10) % 10;
    format!("{digits}{check}")
}
