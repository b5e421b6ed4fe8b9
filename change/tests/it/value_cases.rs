//! Values that Postgres is asked for: literals that are odd in some way, and random ones in SQL, where
//! `g` counts from 1 to 2000.

use change::value::Fit;

/// Values of one type.
pub(crate) struct Case {
    pub(crate) type_name: &'static str,
    /// What the Avro field should hold, as SQL over the value `v`.
    pub(crate) expected: &'static str,
    pub(crate) literals: &'static [&'static str],
    pub(crate) random: &'static str,
    pub(crate) fit: Fit,
}

/// Not `v::text`, which for inet is another function than the type's own output.
const fn text(
    type_name: &'static str,
    random: &'static str,
    literals: &'static [&'static str],
) -> Case {
    Case {
        type_name,
        expected: "format('%s', v)",
        literals,
        random,
        fit: Fit::Typed,
    }
}

const fn typed(
    type_name: &'static str,
    expected: &'static str,
    random: &'static str,
    literals: &'static [&'static str],
) -> Case {
    Case {
        type_name,
        expected,
        literals,
        random,
        fit: Fit::Typed,
    }
}

const fn untyped(type_name: &'static str, literals: &'static [&'static str]) -> Case {
    Case {
        type_name,
        expected: "v::text",
        literals,
        random: "",
        fit: Fit::Exact,
    }
}

pub(crate) const KNOWN: &[Case] = &[
    text("inet", "case when g % 2 = 0 then '0.0.0.0'::inet + floor(random() * 4294967295)::int8
        else set_masklen((to_hex(g % 3) || '::' || to_hex(floor(random() * 9999)::int) || ':'
        || to_hex(floor(random() * 65535)::int) || ':0')::inet, g % 129) end",
        &["0.0.0.0", "10.1.2.3/8", "255.255.255.255/32", "1.2.3.4/0", "::", "::1", "::2", "::1:0",
          "::1.2.3.4", "::ffff:1.2.3.4", "::ffff:1.2.3.4/120", "::fffe:1.2.3.4", "0:0:1::",
          "1:0:0:2:0:0:0:3", "1:0:0:2:0:0:3:4", "1:0:2:0:3:0:4:0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
          "1::/16", "::/0", "0:1:2:3:4:5:6:7", "1:2:3:4:5:6:0:0", "::ffff:0:0", "0:0:0:0:0:1:0:0"]),
    text("cidr", "network(set_masklen('0.0.0.0'::inet + floor(random() * 4294967295)::int8, g % 33))",
        &["0.0.0.0/0", "10.0.0.0/8", "1.2.3.4/32", "::/0", "2001:db8::/32", "::1/128", "::ffff:1.2.3.0/120"]),
    text("macaddr", "substr(md5(random()::text), 1, 12)", &["00:00:00:00:00:00", "08:00:2b:01:0A:ff"]),
    text("macaddr8", "substr(md5(random()::text), 1, 16)", &["08:00:2b:01:02:03:04:05", "08:00:2b:01:02:03"]),
    text("bit varying", "substr(('x' || md5(random()::text))::bit(128)::text, 1, g % 129)",
        &["", "0", "1", "10000000", "100000001", "11111111"]),
    text("bit(11)", "('x' || md5(random()::text))::bit(11)", &["00000000001", "10101010101"]),
    text("interval", "make_interval(months => floor(random() * 99999 - 50000)::int * (g % 3),
        days => floor(random() * 99999 - 50000)::int * (g % 2),
        secs => trunc((random() * 2e9 - 1e9)::numeric, g % 7)::float8 * (g % 5))",
        &["0", "1 year", "-1 year", "1 mon", "-1 mons +1 day", "1 day -00:00:01", "-1 year -2 mons +3 days -04:05:06.000007",
          "1 year 1 mon 1 day 00:00:00.1", "-00:00:00.000001", "178956970 years 7 mons", "-178956970 years -8 mons",
          "2147483647 days", "-2147483648 days", "-1 day 1:00", "2562047788:00:54.775807", "-2562047788:00:54.775807", "26:00", "11 mons -30 days"]),
    text("timetz", "make_time(g % 24, g % 60, trunc((random() * 59)::numeric, g % 7)::float8)::text
        || (case when g % 2 = 0 then '+' else '-' end) || lpad((g % 15)::text, 2, '0')
        || (case g % 3 when 0 then '' when 1 then ':30' else ':45:07' end)",
        &["00:00:00+00", "24:00:00-15:59:59", "04:05:06.000001+05:30", "23:59:59.999999-00:00:01", "1:2:3+15:59:59", "1:2:3.5+00:01"]),
    text("pg_lsn", "'0/0'::pg_lsn + floor(random() * 1e18)::numeric", &["0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF", "1/A"]),
    text("xid", "floor(random() * 4294967295)::int8::text", &["0", "3", "4294967295"]),
    text("cid", "floor(random() * 4294967295)::int8::text", &["0", "4294967295"]),
    text("xid8", "floor(random() * 1e18)::int8::text", &["0", "18446744073709551615"]),
    text("tid", "format('(%s,%s)', floor(random() * 4294967295)::int8, g)", &["(0,0)", "(4294967295,65535)"]),
    text("\"char\"", "chr(g % 127 + 1)", &["", "a", " ", "\\", "'"]),
    text("point", "point((case when random() < 0.5 then -1 else 1 end) * random() * 10::float8 ^ (random() * 600 - 300),
        2::float8 ^ (g - 1050))",
        &["(0,-0)", "(1e15,1e14)", "(0.0001,0.00001)", "(NaN,Infinity)", "(-Infinity,1)", "(1e20,1e-05)", "(5e-324,1.7976931348623157e308)",
          "(1e23,9007199254740993)", "(123456789012345678,0.1)", "(999999999999999,1000000000000000)", "(2.2250738585072014e-308,4503599627370497.5)"]),
    text("point", "point((g || 'e' || (g % 601 - 300))::float8, ((g * 8191) || 'e' || (g % 97 - 30))::float8)", &[]),
    text("point", "point((floor(random() * 1e9) / 100)::float8, g / 1000.0)", &[]),
    text("line", "format('{%s,%s,%s}', random(), g, -random())", &["{1,-1,0}", "{1e20,0,-0}", "{NaN,1,Infinity}"]),
    text("lseg", "lseg(point(random(), g), point(-g, random() * 1e20))", &["[(0,0),(-0,1e-5)]", "[(NaN,1),(Infinity,2)]"]),
    text("box", "box(point(random(), g), point(-g, random() * 1e20))", &["(0,0),(1,1)", "(1,1),(0,0)", "(-Infinity,0),(Infinity,1e-9)"]),
    text("path", "format(case when g % 2 = 0 then '[(%s,%s),(%s,%s)]' else '((%s,%s),(%s,%s))' end, random(), g, random(), random() * 1e30)",
        &["[(0,0)]", "((0,0))", "[(1,2),(3,4),(5,6)]", "((1,2),(3,NaN),(-0,6))"]),
    text("polygon", "format('((%s,%s),(%s,%s),(0,1))', random(), g, random(), random() * 1e30)",
        &["((0,0))", "((1,2),(3,4),(5,6))", "((-0,1e-7),(Infinity,2))"]),
    text("circle", "circle(point(random() * 1e10, g), random() * g)", &["<(0,0),0>", "<(-0,1e20),1e-5>", "<(1,2),Infinity>"]),
    text("tsvector", "to_tsvector('english', md5(random()::text) || ' it''s a ' || g || ' back\\slash naïve')",
        &["", "a", "a b c", "a:1", "a:1A,2B,3C,4D b:16383", "''''", "'a b':3 'c''d'", "'\\\\'", "ünï:1a 'x:y'", "'\"q\"' 'z,'"]),
    text("int4range", "int4range(-floor(random() * 1e9)::int, g)", &["empty", "(,)", "[1,5)", "(,5]", "[-2147483648,)", "[1,1]"]),
    text("int8range", "int8range(-floor(random() * 1e18)::int8, g)", &["empty", "(,)", "[-9223372036854775808,9223372036854775807)"]),
    text("numrange", "numrange(trunc(-random()::numeric * 1e20, g % 21), g)", &["empty", "(,)", "[1.50,1.50]", "(-Infinity,NaN]", "[1e40,Infinity)", "(0.000,1e-20]"]),
    text("daterange", "daterange(date '2000-01-01' - floor(random() * 2451545)::int, date '2000-01-01' + floor(random() * 1e8)::int)",
        &["empty", "(,)", "[-infinity,infinity]", "[infinity,)", "[0044-03-15 BC,0001-01-01)", "[4714-11-24 BC,5874897-12-31)", "[0001-12-31 BC,10000-01-01)", "[2000-02-29,2100-03-01)"]),
    text("tsrange", "tsrange(timestamp '2000-01-01' - random() * interval '6700 years', timestamp '2000-01-01' + random() * interval '200000 years')",
        &["empty", "(,)", "[-infinity,infinity]", "[0044-03-15 01:02:03.5 BC,2000-01-01]", "[4714-11-24 00:00:00 BC,294276-12-31 23:59:59.999999]", "(1999-12-31 23:59:59.999999,10000-01-01)"]),
    text("tstzrange", "tstzrange(timestamptz '2000-01-01' - random() * interval '6700 years', timestamptz '2000-01-01' + random() * interval '200000 years')",
        &["empty", "(,)", "[-infinity,infinity]", "[0044-03-15 01:02:03.5 BC,2000-01-01]", "[4714-11-24 00:00:00 BC,294276-12-31 23:59:59.999999]"]),
    text("int4multirange", "int4multirange(int4range(g, g + 5), int4range(g + 9, null))", &["{}", "{(,)}", "{[1,2),[5,7)}"]),
    text("int8multirange", "int8multirange(int8range(g, g + 5), int8range(g + 9, null))", &["{}", "{(,)}", "{[1,2),[5,7)}"]),
    text("nummultirange", "nummultirange(numrange(g, g + random()::numeric), numrange(g + 9, null, '()'))", &["{}", "{(,)}", "{[1.5,2],(5,NaN]}"]),
    text("datemultirange", "datemultirange(daterange('2000-01-01', date '2000-01-02' + g), daterange('20000-01-01', null))",
        &["{}", "{(,)}", "{[0044-03-15 BC,0001-01-01),[2000-01-01,infinity]}"]),
    text("tsmultirange", "tsmultirange(tsrange('2000-01-01', timestamp '2000-01-02' + random() * interval '9 years'), tsrange('20000-01-01', null))",
        &["{}", "{(,)}", "{[0044-03-15 01:00 BC,0001-01-01),(2000-01-01,infinity]}"]),
    text("tstzmultirange", "tstzmultirange(tstzrange('2000-01-01', timestamptz '2000-01-02' + random() * interval '9 years'), tstzrange('20000-01-01', null))",
        &["{}", "{(,)}", "{[0044-03-15 01:00 BC,0001-01-01),(2000-01-01,infinity]}"]),
    text("jsonpath", "'$.a' || g || '[*] ? (@ > ' || g || ')'", &["$", "$.a[*]", "strict $.\"ü\" ? (@ like_regex \"x\")"]),
    text("refcursor", "'c' || g", &["", "ünï"]),
];

pub(crate) const INFINITE_SINCE_17: Case = text("interval", "", &["infinity", "-infinity"]);

pub(crate) const TYPED: &[Case] = &[
    typed("boolean", "v", "random() < 0.5", &["true", "false"]),
    text(
        "int2",
        "floor(random() * 65535 - 32768)::int",
        &["-32768", "32767", "0"],
    ),
    text(
        "int4",
        "floor(random() * 4e9 - 2e9)::int",
        &["-2147483648", "2147483647"],
    ),
    text(
        "int8",
        "floor(random() * 1e18)::int8",
        &["-9223372036854775808", "9223372036854775807"],
    ),
    text(
        "oid",
        "floor(random() * 4294967295)::int8",
        &["0", "4294967295"],
    ),
    text(
        "float4",
        "random() * 10::float8 ^ (random() * 60 - 30)",
        &["-0", "Infinity", "1e-45", "3.4028235e38"],
    ),
    text(
        "float8",
        "random() * 10::float8 ^ (random() * 600 - 300)",
        &["-0", "-Infinity", "5e-324", "1e23"],
    ),
    text("text", "md5(random()::text)", &["", "ünï\n\"'\\", "語"]),
    text("varchar(40)", "md5(random()::text)", &["", "ünï"]),
    text("name", "md5(random()::text)", &["", "ünï"]),
    text(
        "json",
        "json_build_object('a', random())",
        &["{\"b\" : 1, \"b\":2}", "null"],
    ),
    text(
        "jsonb",
        "jsonb_build_object('a', random())",
        &["{\"b\" : 1, \"a\":[1.50, null]}", "\"ü\""],
    ),
    text(
        "bytea",
        "decode(md5(random()::text), 'hex')",
        &["", "\\x00ff"],
    ),
    text(
        "uuid",
        "md5(random()::text)",
        &[
            "00000000-0000-0000-0000-000000000000",
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
        ],
    ),
    text(
        "numeric",
        "trunc((random() - 0.5)::numeric * 10::numeric ^ (g % 60 - 20), g % 45)",
        &[
            "0",
            "0.000",
            "-0.0001",
            "1e100",
            "1.10",
            "NaN",
            "Infinity",
            "-Infinity",
            "9999.9999",
            "10000",
            "1e-30",
            "100000000",
        ],
    ),
    typed(
        "numeric(30,7)",
        "replace(trim_scale(v * 1e7)::text, '.', '')",
        "(random() - 0.5)::numeric * 10::numeric ^ (g % 22)",
        &[
            "0",
            "-0.0000001",
            "0.0000128",
            "99999999999999999999999.9999999",
            "-12345.6789",
        ],
    ),
    typed(
        "numeric(20)",
        "v",
        "(random() - 0.5)::numeric * 10::numeric ^ (g % 20)",
        &["0", "127", "128", "-128", "-129", "10000"],
    ),
    typed(
        "date",
        "v - date '1970-01-01'",
        "date '2000-01-01' + floor((random() - 0.02) * 1e8)::int",
        &[
            "1970-01-01",
            "4714-11-24 BC",
            "5874897-12-31",
            "0001-12-31 BC",
        ],
    ),
    typed(
        "time",
        "trunc(extract(epoch from v) * 1000000)",
        "time '00:00' + random() * interval '1 day'",
        &["00:00", "24:00", "23:59:59.999999"],
    ),
    typed(
        "timestamp",
        "trunc(extract(epoch from v) * 1000000)",
        "timestamp '2000-01-01' + (random() - 0.02) * interval '200000 years'",
        &[
            "1970-01-01",
            "4714-11-24 00:00:00 BC",
            "1969-12-31 23:59:59.999999",
        ],
    ),
    typed(
        "timestamptz",
        "trunc(extract(epoch from v) * 1000000)",
        "timestamptz '2000-01-01' + (random() - 0.02) * interval '200000 years'",
        &[
            "1970-01-01",
            "4714-11-24 00:00:00 BC",
            "1969-12-31 23:59:59.999999",
        ],
    ),
];

pub(crate) const UNTYPED: &[Case] = &[
    untyped("date", &["infinity", "-infinity"]),
    untyped("timestamp", &["infinity", "-infinity"]),
    untyped("timestamptz", &["infinity", "-infinity"]),
    untyped("numeric(10,2)", &["NaN"]),
];
