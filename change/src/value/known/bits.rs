//! `bit(n)` and `bit varying`. Layout of `varbit_send`: number of bits, then the bits, the first
//! highest; the last byte is filled up with zeros.

use super::take;

pub(super) fn to_text(image: &[u8]) -> Option<String> {
    let mut rest = image;
    let count = usize::try_from(i32::from_be_bytes(take(&mut rest)?)).ok()?;
    if rest.len() != count.div_ceil(8) {
        return None;
    }
    let bits = rest
        .iter()
        .flat_map(|byte| (0..8).map(move |place| byte << place & 0x80));
    Some(
        bits.take(count)
            .map(|bit| if bit == 0 { '0' } else { '1' })
            .collect(),
    )
}

pub(super) fn from_text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    out.extend(i32::try_from(text.len()).ok()?.to_be_bytes());
    for bits in text.as_bytes().chunks(8) {
        let mut byte = 0;
        for (place, bit) in bits.iter().enumerate() {
            match bit {
                b'0' => {}
                b'1' => byte |= 0x80 >> place,
                _ => return None,
            }
        }
        out.push(byte);
    }
    Some(())
}
