//! Postgres prints values and sends them; ours must print the same and come back to the same image.

use std::fmt::Write;

use change::avro::Reader;
use change::value::{BaseType, Fit, Mapping, Scalar};
use testkit::postgres::{Connection, database};

use crate::value_cases::{Case, INFINITE_SINCE_17, KNOWN, TYPED, UNTYPED};

const SETTINGS: &str = "set datestyle = 'ISO'; set intervalstyle = 'postgres';
    set timezone = 'UTC'; set extra_float_digits = 1; set lc_monetary = 'C';
    select setseed(0.25)";

#[tokio::test]
async fn known_types_print_as_postgres_does() {
    check_all(KNOWN).await;
}

#[tokio::test]
async fn infinite_intervals_print_as_postgres_does() {
    let database = database().await;
    let client = database.client().await;
    let version = client.query_one("select current_setting('server_version_num')::int", &[]);
    if version.await.unwrap().get::<_, i32>(0) >= 170_000 {
        check_all(&[INFINITE_SINCE_17]).await;
    }
}

#[tokio::test]
async fn typed_fields_hold_what_postgres_means() {
    check_all(TYPED).await;
}

#[tokio::test]
async fn what_no_field_holds_travels_as_its_image() {
    check_all(UNTYPED).await;
}

async fn check_all(cases: &[Case]) {
    let database = database().await;
    let client = database.client().await;
    client.batch_execute(SETTINGS).await.unwrap();
    let (mut total, mut wrong) = (0, String::new());
    for case in cases {
        let count = check(&client, case, &mut wrong).await;
        println!("{:>6} values of {}", count, case.type_name);
        total += count;
    }
    println!("{total:>6} values in all");
    assert!(wrong.is_empty(), "{wrong}");
}

/// Answers how many values were compared.
async fn check(client: &Connection, case: &Case, wrong: &mut String) -> usize {
    let Case {
        type_name,
        expected,
        literals,
        random,
        fit,
    } = case;
    let base = base_type(client, type_name).await;
    let random = match *random {
        "" => String::new(),
        random => {
            format!(" union all select ({random})::{type_name} from generate_series(1, 2000) g")
        }
    };
    let send: String = client
        .query_one(
            "select case typsend::text when 'textsend' then 'textsend(v::text)'
                                      else typsend || '(v)' end from pg_type where oid = $1",
            &[&base.oid],
        )
        .await
        .unwrap()
        .get(0);
    let query = format!(
        "select ({expected})::text, {send}, array_send(array[v, null, v]),
                format('%s', v), format('%s', array[v, null, v])
           from (select l::{type_name} from unnest($1::text[]) l{random}) t(v)"
    );
    let rows = client
        .query(&query, &[literals])
        .await
        .unwrap_or_else(|e| panic!("{query}: {e:?}"));
    let (mapping, array) = (Mapping::of(base), Mapping::of_array(base));
    for row in &rows {
        let (text, image, array_image): (&str, &[u8], &[u8]) = (row.get(0), row.get(1), row.get(2));
        let mut datum = Vec::new();
        let answer = mapping.encode(image, &mut datum);
        let ours = (answer == Ok(Fit::Typed)).then(|| our_text(mapping, &datum));
        let same = match fit {
            Fit::Typed => ours
                .as_ref()
                .is_some_and(|ours| same_text(mapping, ours, text)),
            Fit::Exact => answer == Ok(Fit::Exact),
        };
        let back = *fit == Fit::Exact || comes_back(mapping, image);
        let array_back = *fit == Fit::Exact || comes_back(array, array_image);
        let printed = mapping
            .text(image)
            .is_none_or(|text| text == row.get::<_, &str>(3));
        let array_printed = array.text(array_image);
        let array_printed = array_printed.is_none_or(|text| text == row.get::<_, &str>(4));
        if !(same && back && array_back && printed && array_printed) {
            writeln!(
                wrong,
                "{type_name} {text}: {answer:?} {ours:?}, image {back}, array {array_back}, \
                 printed {:?}, array {:?}",
                mapping.text(image),
                array.text(array_image)
            )
            .unwrap();
        }
    }
    rows.len()
}

async fn base_type(client: &Connection, type_name: &str) -> BaseType {
    // The modifier is that of a column of the type.
    let create = format!("drop table if exists t; create temp table t (v {type_name})");
    client.batch_execute(&create).await.unwrap();
    let query = "select a.atttypid, a.atttypmod, t.typtype = 'e' from pg_attribute a
                   join pg_type t on t.oid = a.atttypid
                  where attrelid = 'pg_temp.t'::regclass and attname = 'v'";
    let row = client.query_one(query, &[]).await.unwrap();
    BaseType {
        oid: row.get(0),
        modifier: row.get(1),
        is_enum: row.get(2),
        has_send: true,
    }
}

fn comes_back(mapping: Mapping, image: &[u8]) -> bool {
    let (mut datum, mut back) = (Vec::new(), Vec::new());
    if mapping.encode(image, &mut datum) != Ok(Fit::Typed) {
        return false;
    }
    let mut reader = Reader::new(&datum);
    mapping.decode(&mut reader, &mut back).is_ok() && reader.finish().is_ok() && back == image
}

/// What the datum means, as the case's expression prints it.
fn our_text(mapping: Mapping, datum: &[u8]) -> String {
    let mut reader = Reader::new(datum);
    let Mapping::Scalar(scalar) = mapping else {
        unreachable!("cases are of scalars")
    };
    match scalar {
        Scalar::Boolean => reader.bool().unwrap().to_string(),
        Scalar::Float4 => reader.float().unwrap().to_string(),
        Scalar::Float8 => reader.double().unwrap().to_string(),
        Scalar::Bytea | Scalar::Image => hex(reader.bytes().unwrap()),
        Scalar::Decimal { .. } => unscaled(reader.bytes().unwrap()).to_string(),
        Scalar::Int2
        | Scalar::Int4
        | Scalar::Int8
        | Scalar::Oid
        | Scalar::Date
        | Scalar::Time
        | Scalar::Timestamp
        | Scalar::TimestampTz => reader.long().unwrap().to_string(),
        Scalar::Text
        | Scalar::Json
        | Scalar::Jsonb
        | Scalar::Jsonpath
        | Scalar::Numeric
        | Scalar::Uuid
        | Scalar::TextForm
        | Scalar::Int2Vector
        | Scalar::OidVector
        | Scalar::Known(_) => reader.str().unwrap().to_owned(),
    }
}

/// Floats are compared by their bits, which Postgres' text is read to.
fn same_text(mapping: Mapping, ours: &str, theirs: &str) -> bool {
    match mapping {
        Mapping::Scalar(Scalar::Float4) => {
            theirs.parse::<f32>().unwrap().to_bits().to_string() == ours
        }
        Mapping::Scalar(Scalar::Float8) => {
            theirs.parse::<f64>().unwrap().to_bits().to_string() == ours
        }
        _ => ours == theirs,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold("\\x".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// Cases keep decimals within 128 bits.
fn unscaled(bytes: &[u8]) -> i128 {
    let fill = if bytes[0] & 0x80 == 0 { 0 } else { 0xFF };
    let mut wide = [fill; 16];
    wide[16 - bytes.len()..].copy_from_slice(bytes);
    i128::from_be_bytes(wide)
}
