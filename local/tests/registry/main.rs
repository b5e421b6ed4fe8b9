//! The schema registry from outside: real HTTP, real clients, real kills.

mod api;
mod client;
mod clients;
