//! Consumer groups: who is a member, who has which assignment, what each group has committed.
//!
//! `group` is the protocol of one group as a state machine that neither waits nor knows the time;
//! `coordinator` drives all of them, and answers the requests that wait in them.

mod coordinator;
mod group;
mod member;
mod rebalance;

#[cfg(test)]
mod tests;

pub(super) use coordinator::Coordinator;
pub(super) use group::{GroupError, Joined};
pub(super) use member::{Join, Leave, Participant, Sync};
