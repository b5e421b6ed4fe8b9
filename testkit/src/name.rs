//! Names that no other test has.

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// A name fit for databases, slots, topics and consumer groups: `[a-z0-9_]`, at most 50 bytes,
/// ending in what the test is called, so that logs tell whose it is.
pub fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let thread = thread::current();
    let test = thread
        .name()
        .unwrap_or("test")
        .rsplit("::")
        .next()
        .unwrap_or_default();
    let test: String = test
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let mut name = format!("t{}_{number}_{}", process::id(), test.to_ascii_lowercase());
    name.truncate(50);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_test_and_is_not_given_twice() {
        let (a, b) = (unique(), unique());
        assert_ne!(a, b);
        assert!(a.contains("a_name_tells_the_test"), "{a}");
        assert!(a.len() <= 50);
    }
}
