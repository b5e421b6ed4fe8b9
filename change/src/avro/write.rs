//! Writing Avro primitives at the end of a buffer.

/// `int` and `long`: zig-zag, then seven bits a byte, lowest first.
#[inline]
pub fn write_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(low_byte(rest) | 0x80);
        rest >>= 7;
    }
    out.push(low_byte(rest));
}

pub fn write_bool(out: &mut Vec<u8>, value: bool) {
    out.push(u8::from(value));
}

pub fn write_float(out: &mut Vec<u8>, bits: u32) {
    out.extend_from_slice(&bits.to_le_bytes());
}

pub fn write_double(out: &mut Vec<u8>, bits: u64) {
    out.extend_from_slice(&bits.to_le_bytes());
}

#[inline]
pub fn write_bytes(out: &mut Vec<u8>, value: &[u8]) {
    // No slice is longer than `isize::MAX` bytes.
    write_long(
        out,
        i64::try_from(value.len()).expect("a slice's length fits i64"),
    );
    out.extend_from_slice(value);
}

#[inline]
pub fn write_str(out: &mut Vec<u8>, value: &str) {
    write_bytes(out, value.as_bytes());
}

fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}
