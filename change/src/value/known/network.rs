//! `inet`, `cidr`, `macaddr` and `macaddr8`. Layout of `network_send`: family (2 or 3), bits of the
//! mask, whether it is a cidr, number of address bytes, the address. A MAC address is its bytes.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{digits, take};

/// Which of the two types: only cidr prints a mask that covers the whole address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Inet,
    Cidr,
}

/// `PGSQL_AF_INET` and `PGSQL_AF_INET6`.
const V4: u8 = 2;
const V6: u8 = 3;

pub(super) fn to_text(image: &[u8], kind: Kind) -> Option<String> {
    let mut rest = image;
    let [family, bits, _is_cidr, _length] = take(&mut rest)?;
    let (mut text, all_bits) = match family {
        V4 => (Ipv4Addr::from(take::<4>(&mut rest)?).to_string(), 32),
        V6 => (v6_text(Ipv6Addr::from(take::<16>(&mut rest)?)), 128),
        _ => return None,
    };
    if kind == Kind::Cidr || bits != all_bits {
        write!(text, "/{bits}").ok()?;
    }
    rest.is_empty().then_some(text)
}

pub(super) fn from_text(text: &str, kind: Kind, out: &mut Vec<u8>) -> Option<()> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(digits::<u8>(bits)?)),
        None => (text, None),
    };
    let cidr = u8::from(kind == Kind::Cidr);
    if address.contains(':') {
        let address: Ipv6Addr = address.parse().ok()?;
        out.extend([V6, mask(bits, 128)?, cidr, 16]);
        out.extend(address.octets());
    } else {
        let address: Ipv4Addr = address.parse().ok()?;
        out.extend([V4, mask(bits, 32)?, cidr, 4]);
        out.extend(address.octets());
    }
    Some(())
}

fn mask(bits: Option<u8>, all_bits: u8) -> Option<u8> {
    let bits = bits.unwrap_or(all_bits);
    (bits <= all_bits).then_some(bits)
}

/// As `pg_inet_net_ntop` does: the first longest run of zero words is left out, and addresses that
/// hold one of version 4 end in it, also the compatible ones (`::1.2.3.4`), unlike RFC 5952.
fn v6_text(address: Ipv6Addr) -> String {
    let words = address.segments();
    let (start, length) = longest_zeros(&words);
    let dotted = start == 0 && (length == 6 || (length == 5 && words[5] == 0xFFFF));
    let mut text = String::new();
    for (place, word) in words.iter().enumerate() {
        if length > 0 && (start..start + length).contains(&place) {
            if place == start {
                text.push(':');
            }
            continue;
        }
        if place != 0 {
            text.push(':');
        }
        if place == 6 && dotted {
            let [.., a, b, c, d] = address.octets();
            text.push_str(&Ipv4Addr::new(a, b, c, d).to_string());
            return text;
        }
        text.push_str(&format!("{word:x}"));
    }
    if length > 0 && start + length == words.len() {
        text.push(':');
    }
    text
}

/// Where the run starts and how long it is; a single zero is no run.
fn longest_zeros(words: &[u16; 8]) -> (usize, usize) {
    let mut longest = (0, 0);
    for start in 0..words.len() {
        let length = words[start..].iter().take_while(|word| **word == 0).count();
        if length > longest.1 && length > 1 {
            longest = (start, length);
        }
    }
    longest
}

pub(super) fn mac_to_text<const N: usize>(image: &[u8]) -> Option<String> {
    let bytes: [u8; N] = image.try_into().ok()?;
    Some(bytes.map(|byte| format!("{byte:02x}")).join(":"))
}

pub(super) fn mac_from_text<const N: usize>(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let mut count = 0;
    for pair in text.split(':') {
        if pair.len() != 2 || !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        out.push(u8::from_str_radix(pair, 16).ok()?);
        count += 1;
    }
    (count == N).then_some(())
}
