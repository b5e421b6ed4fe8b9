//! The channel binding `tls-server-end-point` (RFC 5929, section 4): a hash of the server's
//! certificate, which SCRAM-SHA-256-PLUS signs, so that nobody sits between.

use sha2::{Digest, Sha256, Sha384, Sha512};

/// The hash of a certificate by the hash function of its own signature; none for a signature
/// without one that is known here (Ed25519, RSASSA-PSS).
pub(super) fn tls_server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (certificate_body, _) = element(certificate, SEQUENCE)?;
    let (_, after_tbs) = element(certificate_body, SEQUENCE)?;
    let (algorithm, _) = element(after_tbs, SEQUENCE)?;
    let (identifier, _) = element(algorithm, OBJECT_IDENTIFIER)?;
    match identifier {
        // RFC 5929: MD5 and SHA-1 are replaced by SHA-256.
        RSA_MD5 | RSA_SHA1 | RSA_SHA256 | ECDSA_SHA1 | ECDSA_SHA256 => {
            Some(Sha256::digest(certificate).to_vec())
        }
        RSA_SHA384 | ECDSA_SHA384 => Some(Sha384::digest(certificate).to_vec()),
        RSA_SHA512 | ECDSA_SHA512 => Some(Sha512::digest(certificate).to_vec()),
        _ => None,
    }
}

/// One DER element of the given tag: its content and what follows it.
fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = input.split_first()?;
    let (length, rest) = rest.split_first()?;
    if *first != tag {
        return None;
    }
    if *length < 0x80 {
        return rest.split_at_checked(usize::from(*length));
    }
    let (digits, rest) = rest.split_at_checked(usize::from(*length & 0x7f))?;
    if digits.len() > 4 {
        return None;
    }
    let length = digits
        .iter()
        .fold(0_usize, |length, digit| length << 8 | usize::from(*digit));
    rest.split_at_checked(length)
}

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;

// 1.2.840.113549.1.1.x (RFC 8017, appendix C)
const RSA_MD5: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04";
const RSA_SHA1: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05";
const RSA_SHA256: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b";
const RSA_SHA384: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c";
const RSA_SHA512: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d";
// 1.2.840.10045.4.1 and 1.2.840.10045.4.3.x (RFC 5758, section 3.2)
const ECDSA_SHA1: &[u8] = b"\x2a\x86\x48\xce\x3d\x04\x01";
const ECDSA_SHA256: &[u8] = b"\x2a\x86\x48\xce\x3d\x04\x03\x02";
const ECDSA_SHA384: &[u8] = b"\x2a\x86\x48\xce\x3d\x04\x03\x03";
const ECDSA_SHA512: &[u8] = b"\x2a\x86\x48\xce\x3d\x04\x03\x04";

#[cfg(test)]
mod tests {
    use super::*;

    /// The frame of a certificate: an empty body, and a signature by `identifier`.
    fn certificate(identifier: &[u8]) -> Vec<u8> {
        let mut algorithm = vec![OBJECT_IDENTIFIER, u8::try_from(identifier.len()).unwrap()];
        algorithm.extend_from_slice(identifier);
        let mut body = vec![
            SEQUENCE,
            0,
            SEQUENCE,
            u8::try_from(algorithm.len()).unwrap(),
        ];
        body.extend(algorithm);
        let mut certificate = vec![SEQUENCE, 0x81, u8::try_from(body.len()).unwrap()];
        certificate.extend(body);
        certificate
    }

    #[test]
    fn the_hash_is_that_of_the_signature() {
        let length = |identifier| tls_server_end_point(&certificate(identifier)).map(|h| h.len());
        assert_eq!(length(RSA_SHA1), Some(32));
        assert_eq!(length(ECDSA_SHA384), Some(48));
        assert_eq!(length(RSA_SHA512), Some(64));
        assert_eq!(length(b"\x2b\x65\x70"), None, "Ed25519");
    }

    #[test]
    fn every_truncation_is_refused() {
        let whole = certificate(RSA_SHA256);
        for end in 0..whole.len() {
            assert_eq!(tls_server_end_point(&whole[..end]), None, "{end}");
        }
    }
}
