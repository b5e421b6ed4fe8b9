//! A value that is its type's binary image already, as a statement's parameter.

use std::error::Error as StdError;
use std::fmt;

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::decode::Value;

pub(super) struct Image<'a>(Option<&'a [u8]>);

impl<'a> From<Value<'a>> for Image<'a> {
    fn from(value: Value<'a>) -> Self {
        match value {
            Value::Image(image) => Self(Some(image)),
            Value::Null | Value::Unchanged => Self(None),
        }
    }
}

/// Says nothing of the value: the client logs parameters.
impl fmt::Debug for Image<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Image")
    }
}

impl ToSql for Image<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self.0 {
            Some(image) => {
                out.extend_from_slice(image);
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
