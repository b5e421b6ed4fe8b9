//! The contract between capture and apply: positions, relations, type mapping, envelope, framing, names.
