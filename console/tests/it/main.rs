//! The console over HTTP, by itself: every part of the pipeline is away. Its pages beside a running
//! pipeline are tested in `lockstep/tests/it/console.rs`.

mod access;
mod actions;
mod running;
