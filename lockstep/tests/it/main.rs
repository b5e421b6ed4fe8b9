//! The command through its real binary, against real servers.

mod columns;
mod command;
mod pipeline;
mod stack;

mod browse;
mod browser;
mod console;
mod containers;
mod control;
mod every_type;
mod input;
mod kill;
mod lossless;
mod monitoring;
mod operations;
mod refused;
mod remote;
mod replay;
mod replica;
mod schema_changes;
mod schemas;
mod setup;
mod snapshot;
mod subscriptions;
mod topics;
mod two_phase;
mod up;
mod verify;
mod verify_load;
