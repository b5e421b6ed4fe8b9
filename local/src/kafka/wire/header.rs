use super::cursor::{Cursor, WireError};

/// The first fields of a request, the same in every version of every header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kafka) struct RequestHeader {
    pub(in crate::kafka) api_key: i16,
    pub(in crate::kafka) api_version: i16,
    pub(in crate::kafka) correlation_id: i32,
    pub(in crate::kafka) client_id: Option<String>,
    /// Bytes up to the part that only header version 2 has.
    length: usize,
}

impl RequestHeader {
    pub(in crate::kafka) fn parse(request: &[u8]) -> Result<Self, WireError> {
        let mut input = Cursor::new(request);
        let api_key = input.i16()?;
        let api_version = input.i16()?;
        let correlation_id = input.i32()?;
        // A nullable string with a 16-bit length, in the flexible header too (KIP-482).
        let client_id = match input.i16()? {
            -1 => None,
            length => {
                let length = usize::try_from(length).map_err(|_| WireError::NegativeLength)?;
                let text = std::str::from_utf8(input.take(length)?);
                Some(text.map_err(|_| WireError::NotUtf8)?.to_owned())
            }
        };
        let length = request.len().saturating_sub(input.remaining());
        Ok(Self {
            api_key,
            api_version,
            correlation_id,
            client_id,
            length,
        })
    }

    /// Where the body starts, once it is known whether the header ends in tagged fields.
    pub(in crate::kafka) fn body_offset(
        &self,
        request: &[u8],
        flexible: bool,
    ) -> Result<usize, WireError> {
        let mut input = Cursor::new(request.get(self.length..).ok_or(WireError::Truncated)?);
        if flexible {
            super::shape::skip_tagged_fields(&mut input)?;
        }
        Ok(request.len().saturating_sub(input.remaining()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_header_is_parsed_and_the_body_starts_after_it() {
        let request = b"\0\x03\0\x09\0\0\0\x2a\0\x02me\0body";
        let header = RequestHeader::parse(request).unwrap();
        assert_eq!(
            (header.api_key, header.api_version, header.correlation_id),
            (3, 9, 42)
        );
        assert_eq!(header.client_id.as_deref(), Some("me"));
        assert_eq!(header.body_offset(request, false), Ok(12));
        assert_eq!(header.body_offset(request, true), Ok(13));
    }

    #[test]
    fn a_client_id_past_the_end_is_refused() {
        assert_eq!(
            RequestHeader::parse(b"\0\x03\0\x09\0\0\0\x2a\x7f\xffme"),
            Err(WireError::Truncated)
        );
    }
}
