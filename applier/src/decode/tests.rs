use apache_avro::Schema;
use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use change::TableName;
use change::envelope::value_schema;
use change::framing::SchemaId;
use change::relation::{Column, Key, PgType, Relation};
use change::value::Mapping;
use proptest::prelude::*;

use super::*;
use crate::differences::DifferencesError;
use crate::differences::tests::differences;

/// What the columns of [`plan`] map to: with each, the image of a value is easily said.
const MAPPINGS: [&str; 9] = [
    "int8",
    "int4",
    "boolean",
    "float8",
    "text",
    "bytea",
    "timestamptz",
    "uuid",
    "int4[]",
];

fn plan() -> (Plan, Schema) {
    let column = |(at, mapping): (usize, &&str)| Column {
        name: format!("c-{at}"),
        in_key: at == 0,
        mapping: Mapping::parse(mapping, 23).unwrap(),
        pg_type: PgType {
            name: (*mapping).to_owned(),
            modifier: -1,
            enum_labels: Vec::new(),
        },
        not_null: false,
        default: None,
        generated: false,
    };
    let relation = Relation {
        table: TableName::new("public", "t"),
        key: Key::Columns,
        columns: MAPPINGS.iter().enumerate().map(column).collect(),
    };
    let text = value_schema(&relation, "p");
    let schema = Schema::parse_str(&text).unwrap();
    (
        Plan::compile(SchemaId(1), "p.public.t", &text).unwrap(),
        schema,
    )
}

/// A typed value, its image, and how it travels.
#[derive(Clone, Debug)]
enum Cell {
    Typed(Avro, Vec<u8>),
    Null,
    Unchanged,
    Exact(Vec<u8>),
}

fn cell(at: usize) -> BoxedStrategy<Cell> {
    let typed = match MAPPINGS[at] {
        "int8" => any::<i64>()
            .prop_map(|n| Cell::Typed(Avro::Long(n), n.to_be_bytes().into()))
            .boxed(),
        "int4" => any::<i32>()
            .prop_map(|n| Cell::Typed(Avro::Int(n), n.to_be_bytes().into()))
            .boxed(),
        "boolean" => any::<bool>()
            .prop_map(|b| Cell::Typed(Avro::Boolean(b), vec![u8::from(b)]))
            .boxed(),
        "float8" => any::<f64>()
            .prop_map(|f| Cell::Typed(Avro::Double(f), f.to_be_bytes().into()))
            .boxed(),
        "text" => any::<String>()
            .prop_map(|s| Cell::Typed(Avro::String(s.clone()), s.into_bytes()))
            .boxed(),
        "bytea" => any::<Vec<u8>>()
            .prop_map(|b| Cell::Typed(Avro::Bytes(b.clone()), b))
            .boxed(),
        "timestamptz" => (-1_000_000_000_000_000_i64..4_000_000_000_000_000)
            .prop_map(|n| {
                // 2000-01-01, where Postgres starts to count.
                let image = (n - 946_684_800_000_000).to_be_bytes();
                Cell::Typed(Avro::TimestampMicros(n), image.into())
            })
            .boxed(),
        "uuid" => any::<[u8; 16]>()
            .prop_map(|bytes| {
                let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
                let text = [
                    &hex[..8],
                    &hex[8..12],
                    &hex[12..16],
                    &hex[16..20],
                    &hex[20..],
                ];
                let uuid = Avro::String(text.join("-"));
                Cell::Typed(uuid, bytes.into())
            })
            .boxed(),
        _ => prop::collection::vec(prop::option::of(any::<i32>()), 0..4)
            .prop_map(|numbers| Cell::Typed(array(&numbers), array_image(&numbers)))
            .boxed(),
    };
    match at {
        0 => typed,
        _ => prop_oneof![
            6 => typed,
            1 => Just(Cell::Null),
            1 => Just(Cell::Unchanged),
            1 => any::<Vec<u8>>().prop_map(Cell::Exact),
        ]
        .boxed(),
    }
}

fn array(numbers: &[Option<i32>]) -> Avro {
    let item = |number: &Option<i32>| match number {
        Some(number) => Avro::Union(1, Box::new(Avro::Int(*number))),
        None => Avro::Union(0, Box::new(Avro::Null)),
    };
    Avro::Array(numbers.iter().map(item).collect())
}

/// As `array_send` writes it.
fn array_image(numbers: &[Option<i32>]) -> Vec<u8> {
    let length = i32::try_from(numbers.len()).unwrap();
    let has_null = i32::from(numbers.contains(&None));
    let mut integers = vec![i32::from(length > 0), has_null, 23];
    if length > 0 {
        integers.extend([length, 1]);
    }
    for number in numbers {
        match number {
            Some(number) => integers.extend([4, *number]),
            None => integers.push(-1),
        }
    }
    integers.iter().flat_map(|n| n.to_be_bytes()).collect()
}

fn cells() -> impl Strategy<Value = Vec<Cell>> {
    (0..MAPPINGS.len()).map(cell).collect::<Vec<_>>()
}

fn record(cells: &[Cell]) -> Avro {
    let field = |(at, cell): (usize, &Cell)| {
        let value = match cell {
            Cell::Typed(value, _) if at == 0 => value.clone(),
            Cell::Typed(value, _) => Avro::Union(1, Box::new(value.clone())),
            Cell::Null | Cell::Unchanged | Cell::Exact(_) => Avro::Union(0, Box::new(Avro::Null)),
        };
        (change::avro::escaped(&format!("c-{at}")), value)
    };
    Avro::Record(cells.iter().enumerate().map(field).collect())
}

fn exact(cells: &[Cell]) -> Avro {
    let image = |(at, cell): (usize, &Cell)| match cell {
        Cell::Exact(image) => Some((format!("c-{at}"), Avro::Bytes(image.clone()))),
        _ => None,
    };
    Avro::Map(cells.iter().enumerate().filter_map(image).collect())
}

fn unchanged(cells: &[Cell]) -> Avro {
    let marked = cells.iter().enumerate();
    let marked = marked.filter(|(_, cell)| matches!(cell, Cell::Unchanged));
    Avro::Array(
        marked
            .map(|(at, _)| Avro::String(format!("c-{at}")))
            .collect(),
    )
}

fn expected(cells: &[Cell], with_unchanged: bool) -> Row {
    let mut fields = Fields::default();
    for cell in cells {
        fields.push(match cell {
            Cell::Typed(_, image) | Cell::Exact(image) => Value::Image(image),
            Cell::Unchanged if with_unchanged => Value::Unchanged,
            Cell::Null | Cell::Unchanged => Value::Null,
        });
    }
    fields.row()
}

fn envelope(op: &str, before: Option<&[Cell]>, after: Option<&[Cell]>) -> Avro {
    let none: &[Cell] = &[];
    let optional = |row: Option<&[Cell]>| match row {
        Some(cells) => Avro::Union(1, Box::new(record(cells))),
        None => Avro::Union(0, Box::new(Avro::Null)),
    };
    let text = |text: &str| Avro::String(text.to_owned());
    let null = || Avro::Union(0, Box::new(Avro::Null));
    let some = |value| Avro::Union(1, Box::new(value));
    let field = |name: &str, value| (name.to_owned(), value);
    Avro::Record(vec![
        field(
            "lockstep",
            Avro::Record(vec![
                field("epoch", Avro::Long(4)),
                field("commit_lsn", Avro::Long(0x1_0000_0000)),
                field("ordinal", Avro::Long(7)),
                field("unchanged", unchanged(after.unwrap_or(none))),
                field("exact", exact(after.unwrap_or(none))),
                field("exact_before", exact(before.unwrap_or(none))),
            ]),
        ),
        field("op", text(op)),
        field("before", optional(before)),
        field("after", optional(after)),
        field(
            "source",
            Avro::Record(vec![
                field("version", text("0")),
                field("connector", text("lockstep")),
                field("name", text("p")),
                field("ts_ms", Avro::Long(1)),
                field("snapshot", text("false")),
                field("db", text("d")),
                field("schema", text("public")),
                field("table", text("t")),
                field("txId", some(Avro::Long(7))),
                field("lsn", null()),
            ]),
        ),
        field("ts_ms", some(Avro::Long(2))),
        field(
            "transaction",
            some(Avro::Record(vec![
                field("id", text("7:1")),
                field("total_order", Avro::Long(1)),
                field("data_collection_order", Avro::Long(1)),
            ])),
        ),
    ])
}

fn datum(schema: &Schema, envelope: Avro) -> Vec<u8> {
    let writer = GenericDatumWriter::builder(schema).build().unwrap();
    writer.write_value_to_vec(envelope).unwrap()
}

proptest! {
    #[test]
    fn rows_of_the_reference_implementation_become_images(old in cells(), new in cells()) {
        let (plan, schema) = plan();
        let mut fields = Fields::default();
        let datum = datum(&schema, envelope("u", Some(&old), Some(&new)));
        let head = head(&datum).unwrap();
        prop_assert_eq!(head.epoch, 4);
        prop_assert_eq!(head.position.commit_lsn, Lsn::new(0x1_0000_0000));
        prop_assert_eq!(head.position.ordinal, 7);
        let old_key = plan.key_of(&expected(&old, false)).unwrap();
        let moved_from = Some(old_key).filter(|key| {
            *key != plan.key_of(&expected(&new, false)).unwrap()
        });
        let found = action(&plan, &datum, &mut fields).unwrap();
        let row = expected(&new, true);
        prop_assert_eq!(found, Action::Update { row, moved_from });
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (plan, _) = plan();
        let _ = head(&bytes);
        let _ = action(&plan, &bytes, &mut Fields::default());
    }

    #[test]
    fn damaged_records_never_panic(new in cells(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let (plan, schema) = plan();
        let mut datum = datum(&schema, envelope("c", None, Some(&new)));
        let at = at.index(datum.len());
        datum[at] = byte;
        let _ = action(&plan, &datum, &mut Fields::default());
        datum.truncate(at);
        prop_assert!(action(&plan, &datum, &mut Fields::default()).is_err());
    }
}

#[track_caller]
fn check(op: &str, before: Option<&[Cell]>, after: Option<&[Cell]>, expected: &str) {
    let (plan, schema) = plan();
    let datum = datum(&schema, envelope(op, before, after));
    let error = action(&plan, &datum, &mut Fields::default()).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[test]
fn records_that_lack_what_their_operation_needs_are_refused() {
    let mut row = vec![Cell::Typed(Avro::Long(1), 1_i64.to_be_bytes().into())];
    row.extend((1..MAPPINGS.len()).map(|_| Cell::Null));
    let mut partial = row.clone();
    partial[4] = Cell::Unchanged;
    check("c", Some(&row), None, "record of operation c without after");
    check(
        "r",
        None,
        Some(&partial),
        "a value is said to be unchanged where it cannot be",
    );
    check("u", Some(&row), None, "record of operation u without after");
    check(
        "d",
        None,
        Some(&row),
        "record of operation d without before",
    );
    check("x", None, Some(&row), "read operation");
}

/// By their options, as the target keeps them.
fn under(options: &[&str]) -> (Result<Plan, DifferencesError>, Schema) {
    let (plan, schema) = plan();
    (plan.under(&differences(options)), schema)
}

#[test]
fn the_target_gets_what_its_differences_say() {
    let (plan, schema) = under(&[
        "rename public.t=s.u",
        "rename-column public.t.c-2=b",
        "leave-out public.t.c-1",
        "mask public.t.c-3=constant:none",
        "mask public.t.c-4=hash",
        "mask public.t.c-5=null",
        "mask public.t.c-6=hash",
    ]);
    let plan = plan.unwrap();
    assert_eq!(plan.target, TableName::new("s", "u"));
    let names: Vec<&str> = plan
        .relation
        .columns
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["c-0", "b", "c-3", "c-4", "c-5", "c-6", "c-7", "c-8"]
    );
    let fixed: Vec<usize> = (0..names.len()).filter(|at| plan.is_fixed(*at)).collect();
    assert_eq!(fixed, [2, 4]);

    let row = [
        Cell::Typed(Avro::Long(1), 1_i64.to_be_bytes().into()),
        Cell::Unchanged,
        Cell::Null,
        Cell::Unchanged,
        Cell::Typed(Avro::String("v".to_owned()), b"v".to_vec()),
        Cell::Exact(b"secret".to_vec()),
        Cell::Exact(b"infinity".to_vec()),
        Cell::Null,
        Cell::Unchanged,
    ];
    let datum = datum(&schema, envelope("u", None, Some(&row)));
    let Action::Update { row, .. } = action(&plan, &datum, &mut Fields::default()).unwrap() else {
        panic!("no update");
    };
    let key = differences(&[]).mask_key().unwrap();
    let (text, image) = (key.hash(b"v"), key.hash(b"infinity"));
    let expected = [
        Value::Image(&1_i64.to_be_bytes()),
        Value::Null,
        Value::Image(b"none"),
        Value::Image(text.as_bytes()),
        Value::Null,
        Value::Image(image.as_bytes()),
        Value::Null,
        Value::Unchanged,
    ];
    assert!(row.values().eq(expected), "{row:?}");
}

#[test]
fn keys_are_neither_left_out_nor_masked_nor_made_of_two_columns() {
    let check = |option, expected: &str| {
        let error = under(&[option]).0.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(
        "leave-out public.t.c-0",
        "column c-0 is of the key of table public.t",
    );
    check("mask public.t.c-0=hash", "column c-0 is of the key");
    check("rename-column public.t.c-0=c-1", "go into public.t.c-1");
}
