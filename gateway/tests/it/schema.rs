//! The schema, as clients know it.

/// A change of the schema is a change of `gateway/schema.graphql`, which everybody sees.
#[test]
fn the_schema_is_the_one_that_is_written_down() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.graphql");
    let found = gateway::sdl();
    if std::env::var_os("LOCKSTEP_UPDATE_SCHEMA").is_some() {
        std::fs::write(file, &found).unwrap();
    }
    let written = std::fs::read_to_string(file).unwrap_or_default();
    assert!(
        found == written,
        "the schema differs from {file}; where that is meant, run this test with \
         LOCKSTEP_UPDATE_SCHEMA=1:\n{found}"
    );
}
