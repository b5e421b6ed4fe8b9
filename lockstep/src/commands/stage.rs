//! The two halves of a pipeline, each of which can be paused.

/// What a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Stage {
    Apply,
    Capture,
}

/// Why a table is not paused together with capture.
pub(crate) const TABLES_OF_APPLY: &str =
    "capture has no tables that wait alone: leave out --table, or pause the table of apply";
