//! The command through its real binary, against real servers.

mod command;
mod pipeline;
mod stack;

mod browser;
mod console;
mod input;
mod kill;
mod lossless;
mod operations;
mod replica;
mod setup;
mod snapshot;
mod subscriptions;
mod up;
mod verify;
