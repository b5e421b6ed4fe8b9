//! Which Avro type a Postgres type becomes.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use super::known::{KNOWN, Known};

/// How a column's values stand in Avro.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    Scalar(Scalar),
    /// One-dimensional arrays with lower bound 1; others travel as their image.
    Array {
        element: Scalar,
        element_oid: u32,
    },
}

/// How one value that is not an array stands in Avro.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    Boolean,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    /// Types whose image is their text: text, varchar, char(n), name, xml, refcursor, enums.
    Text,
    Json,
    /// Its image is a version byte and the text.
    Jsonb,
    /// As jsonb, but its text is no JSON.
    Jsonpath,
    Bytea,
    /// `numeric(precision, scale)`.
    Decimal {
        precision: u16,
        scale: u16,
    },
    /// `numeric` without precision: text, which also holds NaN and the infinities.
    Numeric,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Uuid,
    /// Types without a send function: Postgres sends, and must be given, their text form.
    TextForm,
    /// Sent as its image, and must be given as text.
    Int2Vector,
    OidVector,
    /// Other built-in types: the text that Postgres prints.
    Known(Known),
    /// Everything else: the binary image itself. Of the built-in types these are money (how many
    /// decimals its integer has is a setting, `lc_monetary`, which does not travel), tsquery, and
    /// what prints names that only the source's catalog knows (regclass and its like).
    Image,
}

/// What decides the mapping: a type with its domains taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaseType {
    pub oid: u32,
    /// `atttypmod` or `typtypmod`: -1 when there is none.
    pub modifier: i32,
    pub is_enum: bool,
    pub has_send: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown mapping {0:?}: the schema was written by a newer version")]
pub struct MappingNameError(String);

impl Scalar {
    /// OIDs below 16384 are the same in every Postgres (`pg_type.dat`).
    pub fn of(base: BaseType) -> Self {
        if !base.has_send {
            return Self::TextForm;
        }
        match base.oid {
            _ if base.is_enum => Self::Text,
            16 => Self::Boolean,
            17 => Self::Bytea,
            22 => Self::Int2Vector,
            30 => Self::OidVector,
            19 | 25 | 142 | 1042 | 1043 | 1790 => Self::Text,
            20 => Self::Int8,
            21 => Self::Int2,
            23 => Self::Int4,
            26 => Self::Oid,
            114 => Self::Json,
            700 => Self::Float4,
            701 => Self::Float8,
            1082 => Self::Date,
            1083 => Self::Time,
            1114 => Self::Timestamp,
            1184 => Self::TimestampTz,
            1700 => numeric(base.modifier),
            2950 => Self::Uuid,
            3802 => Self::Jsonb,
            4072 => Self::Jsonpath,
            oid => {
                let known = KNOWN.iter().find(|(known, ..)| *known == oid);
                known.map_or(Self::Image, |(_, _, known)| Self::Known(*known))
            }
        }
    }

    /// Whether the Avro type holds every value of the Postgres type.
    fn is_total(self) -> bool {
        match self {
            Self::Decimal { .. } | Self::Date | Self::Timestamp | Self::TimestampTz => false,
            // Text that is not UTF-8 exists only in databases of encoding SQL_ASCII, which the
            // pre-flight check refuses.
            Self::Text | Self::Json | Self::Jsonb | Self::Jsonpath | Self::TextForm => true,
            Self::Known(known) => known.is_total(),
            Self::Boolean | Self::Int2 | Self::Int4 | Self::Int8 | Self::Oid => true,
            Self::Float4 | Self::Float8 | Self::Bytea | Self::Numeric => true,
            Self::Time | Self::Uuid | Self::Image => true,
            Self::Int2Vector | Self::OidVector => true,
        }
    }

    fn avro_type(self) -> Value {
        match self {
            Self::Boolean => json!("boolean"),
            Self::Int2 | Self::Int4 => json!("int"),
            Self::Int8 | Self::Oid => json!("long"),
            Self::Float4 => json!("float"),
            Self::Float8 => json!("double"),
            Self::Text | Self::Numeric | Self::Jsonpath | Self::TextForm | Self::Known(_) => {
                json!("string")
            }
            Self::Int2Vector | Self::OidVector => json!("string"),
            Self::Json | Self::Jsonb => {
                json!({"type": "string", "connect.name": "io.debezium.data.Json"})
            }
            Self::Bytea | Self::Image => json!("bytes"),
            Self::Decimal { precision, scale } => json!({
                "type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale
            }),
            Self::Date => json!({"type": "int", "logicalType": "date"}),
            Self::Time => json!({"type": "long", "logicalType": "time-micros"}),
            Self::Timestamp => json!({"type": "long", "logicalType": "local-timestamp-micros"}),
            Self::TimestampTz => json!({"type": "long", "logicalType": "timestamp-micros"}),
            Self::Uuid => json!({"type": "string", "logicalType": "uuid"}),
        }
    }
}

/// `typmod` of numeric holds precision and scale (`numeric.c`, `make_numeric_typmod`; the scale is
/// eleven bits, signed). Avro has no scale below zero or above the precision.
fn numeric(modifier: i32) -> Scalar {
    let Ok(packed) = u32::try_from(modifier.wrapping_sub(4)) else {
        return Scalar::Numeric;
    };
    let precision = u16::try_from(packed >> 16).unwrap_or(0);
    let scale = u16::try_from(packed & 0x7FF).unwrap_or(u16::MAX);
    if scale <= precision && precision > 0 {
        Scalar::Decimal { precision, scale }
    } else {
        Scalar::Numeric
    }
}

impl Mapping {
    pub fn of(base: BaseType) -> Self {
        Self::Scalar(Scalar::of(base))
    }

    /// The mapping of an array type with elements of type `element`.
    pub fn of_array(element: BaseType) -> Self {
        match Scalar::of(element) {
            // Elements that nobody can name gain nothing from an Avro array of images; and an
            // array's image cannot be made of texts.
            Scalar::Image | Scalar::Int2Vector | Scalar::OidVector => Self::Scalar(Scalar::Image),
            scalar => Self::Array {
                element: scalar,
                element_oid: element.oid,
            },
        }
    }

    /// Whether the Avro type holds every value of the Postgres type, so that [`Mapping::encode`]
    /// never answers [`super::Fit::Exact`] for a database with a UTF-8 encoding.
    pub fn is_total(self) -> bool {
        match self {
            Self::Scalar(scalar) => scalar.is_total(),
            Self::Array { .. } => false,
        }
    }

    /// Whether [`Mapping::decode`] gives the text that Postgres prints and reads, not the image.
    pub fn is_text_form(self) -> bool {
        let forms = [Scalar::TextForm, Scalar::Int2Vector, Scalar::OidVector];
        forms.map(Self::Scalar).contains(&self)
    }

    /// The OID of an array's elements, which its images name.
    pub fn element_oid(self) -> Option<u32> {
        match self {
            Self::Scalar(_) => None,
            Self::Array { element_oid, .. } => Some(element_oid),
        }
    }

    /// The Avro type as JSON, without `null`.
    pub fn avro_type(self) -> Value {
        match self {
            Self::Scalar(scalar) => scalar.avro_type(),
            Self::Array { element, .. } => {
                json!({"type": "array", "items": ["null", element.avro_type()]})
            }
        }
    }

    /// The mapping that [`Mapping`]'s text form names.
    ///
    /// # Errors
    /// When no mapping has that name.
    pub fn parse(name: &str, element_oid: u32) -> Result<Self, MappingNameError> {
        match name.strip_suffix("[]") {
            Some(element) => Ok(Self::Array {
                element: element.parse()?,
                element_oid,
            }),
            None => name.parse().map(Self::Scalar),
        }
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(scalar) => scalar.fmt(f),
            Self::Array { element, .. } => write!(f, "{element}[]"),
        }
    }
}

const NAMED: [(&str, Scalar); 22] = [
    ("boolean", Scalar::Boolean),
    ("int2", Scalar::Int2),
    ("int4", Scalar::Int4),
    ("int8", Scalar::Int8),
    ("oid", Scalar::Oid),
    ("float4", Scalar::Float4),
    ("float8", Scalar::Float8),
    ("text", Scalar::Text),
    ("json", Scalar::Json),
    ("jsonb", Scalar::Jsonb),
    ("jsonpath", Scalar::Jsonpath),
    ("bytea", Scalar::Bytea),
    ("numeric", Scalar::Numeric),
    ("date", Scalar::Date),
    ("time", Scalar::Time),
    ("timestamp", Scalar::Timestamp),
    ("timestamptz", Scalar::TimestampTz),
    ("uuid", Scalar::Uuid),
    ("textform", Scalar::TextForm),
    ("int2vector", Scalar::Int2Vector),
    ("oidvector", Scalar::OidVector),
    ("image", Scalar::Image),
];

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Decimal { precision, scale } = self {
            return write!(f, "decimal({precision},{scale})");
        }
        if let Self::Known(known) = self {
            return f.write_str(known.name());
        }
        let named = NAMED.iter().find(|(_, scalar)| scalar == self);
        f.write_str(named.expect("every other scalar is named").0)
    }
}

impl FromStr for Scalar {
    type Err = MappingNameError;

    fn from_str(name: &str) -> Result<Self, MappingNameError> {
        if let Some((_, scalar)) = NAMED.iter().find(|(named, _)| *named == name) {
            return Ok(*scalar);
        }
        if let Some((_, _, known)) = KNOWN.iter().find(|(_, named, _)| *named == name) {
            return Ok(Self::Known(*known));
        }
        decimal(name).ok_or_else(|| MappingNameError(name.to_owned()))
    }
}

fn decimal(name: &str) -> Option<Scalar> {
    let (precision, scale) = name
        .strip_prefix("decimal(")?
        .strip_suffix(')')?
        .split_once(',')?;
    Some(Scalar::Decimal {
        precision: precision.parse().ok()?,
        scale: scale.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built_in(oid: u32, modifier: i32) -> BaseType {
        BaseType {
            oid,
            modifier,
            is_enum: false,
            has_send: true,
        }
    }

    #[test]
    fn precision_and_scale_come_from_the_modifier() {
        let numeric = |modifier| Scalar::of(built_in(1700, modifier));
        assert_eq!(numeric(-1), Scalar::Numeric);
        assert_eq!(
            numeric((10 << 16 | 2) + 4),
            Scalar::Decimal {
                precision: 10,
                scale: 2
            }
        );
        // numeric(2,-3) and numeric(3,5), which Postgres 15 allows and Avro does not.
        assert_eq!(numeric((2 << 16 | 2045) + 4), Scalar::Numeric);
        assert_eq!(numeric((3 << 16 | 5) + 4), Scalar::Numeric);
    }

    #[test]
    fn names_come_back() {
        let scalars = NAMED.iter().map(|(_, scalar)| *scalar);
        let known = KNOWN.iter().map(|(_, _, known)| Scalar::Known(*known));
        for element in scalars.chain(known).chain([Scalar::Decimal {
            precision: 7,
            scale: 0,
        }]) {
            for mapping in [
                Mapping::Scalar(element),
                Mapping::Array {
                    element,
                    element_oid: 7,
                },
            ] {
                assert_eq!(Mapping::parse(&mapping.to_string(), 7), Ok(mapping));
            }
        }
        assert!(Mapping::parse("decimal(1)", 0).is_err());
        assert!(Mapping::parse("hstore", 0).is_err());
    }
}
