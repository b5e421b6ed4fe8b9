//! What a run of the tests is told by variables of its environment: how long, how much, which seed.

use std::env;

/// The number in `LOCKSTEP_TEST_<name>`, or the usual one.
///
/// # Panics
/// When it is no number.
pub fn number(name: &str, usual: u64) -> u64 {
    let name = format!("LOCKSTEP_TEST_{name}");
    match env::var(&name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is not a number")),
        Err(_) => usual,
    }
}
