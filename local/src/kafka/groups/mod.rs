//! Consumer groups: who is a member, who has which assignment, what each group has committed.
//!
//! `group` is the protocol of one group as a state machine that neither waits nor knows the time;
//! `coordinator` drives all of them, and answers the requests that wait in them. `store` keeps who
//! was in which generation, so that members go on after a restart; `description` is for tools.

mod coordinator;
mod description;
mod group;
mod member;
mod rebalance;
mod store;
mod subscription;

#[cfg(test)]
mod tests;

pub(super) use coordinator::{Coordinator, GroupDeleteError};
pub(super) use description::{Description, Listed, MemberDescription};
pub(super) use group::{GroupError, Joined};
pub(super) use member::{Join, Leave, Participant, Sync};
