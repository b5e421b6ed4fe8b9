//! Files that are part of the program: pages that work without any other server.

use std::hash::{DefaultHasher, Hash, Hasher};

/// A file that was compiled in.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// The last part of its path.
    pub name: &'static str,
    pub media_type: &'static str,
    pub bytes: &'static [u8],
}

impl Asset {
    /// What stands between the quotes of its entity tag: another version has another.
    pub fn etag(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.bytes.hash(&mut hasher);
        format!("a{:016x}", hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_content_has_another_tag() {
        let asset = |bytes| Asset {
            name: "a.js",
            media_type: "text/javascript",
            bytes,
        };
        assert_eq!(asset(b"1").etag(), asset(b"1").etag());
        assert_ne!(asset(b"1").etag(), asset(b"2").etag());
    }
}
