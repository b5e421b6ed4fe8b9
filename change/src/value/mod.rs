//! One column value, from Postgres' binary image (what the type's send function writes) to an Avro
//! datum and back, without a loss.
//!
//! A [`Mapping`] is chosen once per column; both directions stand side by side in one file per
//! family, and every value either comes back to the same bytes or is reported as [`Fit::Exact`], so
//! that its image travels in the envelope's `exact` map instead.

mod array;
mod known;
mod mapping;
mod numeric;
mod scalar;
mod text;
mod vector;

pub use known::{Element, Known};
pub use mapping::{BaseType, Mapping, MappingNameError, Scalar};

use crate::avro::{DatumError, Reader};

/// Whether the typed field could hold the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// The datum was written.
    Typed,
    /// Nothing was written: the field cannot hold this value, only its image can travel.
    Exact,
}

/// Why a value could not be converted. Names no value: row data never enters messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The bytes are not what the type's send function writes.
    #[error("binary image of {length} bytes is not one of type {expected}")]
    Image {
        expected: &'static str,
        length: usize,
    },
    #[error("read datum")]
    Datum(#[from] DatumError),
    /// The datum is well-formed but means no value of the column's type.
    #[error("datum is no value of type {expected}")]
    Meaning { expected: &'static str },
}

impl Mapping {
    /// Appends the datum for `image`.
    ///
    /// # Errors
    /// When `image` is not an image of the column's type.
    pub fn encode(&self, image: &[u8], out: &mut Vec<u8>) -> Result<Fit, ValueError> {
        match self {
            Self::Scalar(scalar) => scalar::encode(*scalar, image, out),
            Self::Array { element, .. } => array::encode(*element, image, out),
        }
    }

    /// Appends the image for the datum that `reader` stands before, or the text of a value whose
    /// type [`Mapping::is_text_form`].
    ///
    /// # Errors
    /// When the datum ends early or means no value of the column's type.
    pub fn decode(&self, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), ValueError> {
        match self {
            Self::Scalar(scalar) => scalar::decode(*scalar, reader, out),
            Self::Array {
                element,
                element_oid,
            } => array::decode(*element, *element_oid, reader, out),
        }
    }

    /// What Postgres prints for `image` under the settings that `known` names; `None` for types whose
    /// text only the source knows, and for bytes that are no image of the column's type.
    pub fn text(&self, image: &[u8]) -> Option<String> {
        match self {
            Self::Scalar(scalar) => text::of_scalar(*scalar, image),
            Self::Array { element, .. } => text::of_array(*element, image),
        }
    }
}

/// `image` as exactly `N` bytes.
fn fixed<const N: usize>(image: &[u8], expected: &'static str) -> Result<[u8; N], ValueError> {
    image.try_into().map_err(|_| ValueError::Image {
        expected,
        length: image.len(),
    })
}
