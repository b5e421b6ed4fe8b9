//! The command through its real binary, against real servers.

mod command;
mod pipeline;
mod stack;

mod input;
mod kill;
mod lossless;
mod replica;
mod setup;
mod up;
mod verify;
