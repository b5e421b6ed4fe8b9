//! The schema registry from outside: real HTTP, real clients, real kills.

#![allow(clippy::unwrap_used, reason = "a helper fails as its test does")]

mod api;
mod client;
mod clients;
mod config;
mod documented;
mod durability;
mod lifecycle;
mod modes;
mod references;
