//! What a consumer tells its group's leader of its topics (`ConsumerProtocolSubscription`).

use bytes::{Buf, Bytes};

/// The protocol type of groups of consumers.
pub(super) const CONSUMER: &str = "consumer";

/// The topics of a subscription; `None` when it cannot be read.
pub(super) fn topics(metadata: &Bytes) -> Option<Vec<String>> {
    let mut rest = metadata.clone();
    let _version = rest.try_get_i16().ok()?;
    let count = rest.try_get_i32().ok()?;
    let mut topics = Vec::new();
    for _ in 0..count {
        let length = usize::try_from(rest.try_get_i16().ok()?).ok()?;
        if rest.remaining() < length {
            return None;
        }
        topics.push(String::from_utf8(rest.split_to(length).to_vec()).ok()?);
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_and_what_is_cut_short_is_not() {
        let whole = b"\0\x01\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff";
        let named = Some(vec!["a".to_owned(), "bc".to_owned()]);
        assert_eq!(topics(&Bytes::from_static(whole)), named);
        for length in 0..13 {
            assert_eq!(topics(&Bytes::from_static(&whole[..length])), None);
        }
        assert_eq!(topics(&Bytes::from_static(b"\0\0\0\0\0\0")), Some(vec![]));
    }
}
