//! The rebalance protocol without clocks or connections.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

use super::group::{Answer, Group, GroupError, Joined, Synced};
use super::member::{Join, Leave, Participant, Sync, Ticket};

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);
const DELAY: Duration = Duration::from_secs(3);

/// A group, the time, and the answers that came, by ticket.
struct World {
    group: Group,
    now: Instant,
    tickets: u64,
    joined: BTreeMap<u64, Result<Joined, GroupError>>,
    synced: BTreeMap<u64, Result<Synced, GroupError>>,
}

impl World {
    fn new() -> Self {
        Self {
            group: Group::new(DELAY),
            now: Instant::now(),
            tickets: 0,
            joined: BTreeMap::new(),
            synced: BTreeMap::new(),
        }
    }

    fn collect(&mut self) {
        for answer in self.group.poll_answers() {
            let doubled = match answer {
                Answer::Joined(Ticket(ticket), answer) => {
                    self.joined.insert(ticket, answer).is_some()
                }
                Answer::Synced(Ticket(ticket), answer) => {
                    self.synced.insert(ticket, answer).is_some()
                }
            };
            assert!(!doubled, "a request was answered twice");
        }
    }

    fn join(&mut self, join: Join) -> u64 {
        self.tickets += 1;
        self.group.handle_join(join, Ticket(self.tickets), self.now);
        self.collect();
        self.tickets
    }

    fn sync(&mut self, member: &Joined, assignments: &[(&str, &'static str)]) -> u64 {
        self.tickets += 1;
        let assignments = assignments
            .iter()
            .map(|(id, assigned)| ((*id).to_owned(), Bytes::from_static(assigned.as_bytes())))
            .collect();
        let member = participant(&member.member_id, member.generation);
        let sync = Sync {
            member,
            protocol_type: None,
            protocol: None,
            assignments,
        };
        self.group.handle_sync(sync, Ticket(self.tickets), self.now);
        self.collect();
        self.tickets
    }

    /// Lets the time pass in the steps in which the group asks for it.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.group.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.group.handle_timeout(self.now);
            self.collect();
        }
        self.now = end;
    }

    #[track_caller]
    fn accepted(&self, ticket: u64) -> Joined {
        self.joined
            .get(&ticket)
            .expect("the join is answered")
            .clone()
            .unwrap()
    }

    #[track_caller]
    fn assignment(&self, ticket: u64) -> Bytes {
        self.synced
            .get(&ticket)
            .expect("the sync is answered")
            .clone()
            .unwrap()
            .assignment
    }

    /// Two members, `a` who leads and `b`, with their assignments.
    fn stable() -> (Self, Joined, Joined) {
        let mut world = Self::new();
        let (a, b) = (world.join(join("a")), world.join(join("b")));
        world.pass(DELAY * 2);
        let (a, b) = (world.accepted(a), world.accepted(b));
        world.sync(&b, &[]);
        world.sync(&a, &[("a", "one"), ("b", "two")]);
        (world, a, b)
    }
}

fn join(new_member_id: &str) -> Join {
    Join {
        member_id: String::new(),
        instance_id: None,
        client_id: "client".to_owned(),
        new_member_id: new_member_id.to_owned(),
        must_know_its_id: false,
        can_skip_assignment: true,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::from_static(b"topics"))],
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
    }
}

fn rejoin(member_id: &str) -> Join {
    Join {
        member_id: member_id.to_owned(),
        ..join("unused")
    }
}

fn participant(member_id: &str, generation: i32) -> Participant {
    Participant {
        member_id: member_id.to_owned(),
        instance_id: None,
        generation,
    }
}

#[test]
fn members_that_start_together_are_in_the_first_generation() {
    let mut world = World::new();
    let a = world.join(join("a"));
    world.pass(DELAY - Duration::from_millis(1));
    let b = world.join(join("b"));
    assert!(world.joined.is_empty());
    world.pass(DELAY * 2);
    let (a, b) = (world.accepted(a), world.accepted(b));
    assert_eq!(
        (a.generation, a.leader.as_str(), a.members.len()),
        (1, "a", 2)
    );
    assert_eq!(
        (b.generation, b.leader.as_str(), b.members.len()),
        (1, "a", 0)
    );
}

#[test]
fn the_leader_s_assignment_reaches_everyone() {
    let mut world = World::new();
    let (a, b) = (world.join(join("a")), world.join(join("b")));
    world.pass(DELAY * 2);
    let (a, b) = (world.accepted(a), world.accepted(b));
    let of_b = world.sync(&b, &[]);
    assert!(world.synced.is_empty());
    let of_a = world.sync(&a, &[("a", "one"), ("b", "two")]);
    assert_eq!(world.assignment(of_a), "one");
    assert_eq!(world.assignment(of_b), "two");
}

#[test]
fn a_third_member_makes_the_others_join_again() {
    let (mut world, a, b) = World::stable();
    let c = world.join(join("c"));
    for member in [&a, &b] {
        let beat = world
            .group
            .handle_heartbeat(&participant(&member.member_id, 1), world.now);
        assert_eq!(beat, Err(GroupError::RebalanceInProgress));
    }
    let a = world.join(rejoin("a"));
    assert!(!world.joined.contains_key(&c));
    let b = world.join(rejoin("b"));
    for ticket in [a, b, c] {
        assert_eq!(world.accepted(ticket).generation, 2);
    }
    assert_eq!(world.accepted(a).members.len(), 3);
}

#[test]
fn a_member_that_does_not_join_again_is_left_behind() {
    let (mut world, ..) = World::stable();
    let c = world.join(join("c"));
    let a = world.join(rejoin("a"));
    // b lives and does not join.
    for _ in 0..12 {
        world.pass(REBALANCE / 12);
        let _ = world
            .group
            .handle_heartbeat(&participant("b", 1), world.now);
    }
    world.pass(Duration::from_secs(1));
    assert_eq!(world.accepted(a).members.len(), 2);
    assert_eq!(world.accepted(c).generation, 2);
    let gone = world
        .group
        .handle_heartbeat(&participant("b", 1), world.now);
    assert_eq!(gone, Err(GroupError::UnknownMember));
}

#[test]
fn a_silent_member_is_dropped_when_its_session_ends() {
    let (mut world, a, _) = World::stable();
    let beat = |world: &mut World| {
        world
            .group
            .handle_heartbeat(&participant(&a.member_id, a.generation), world.now)
    };
    world.pass(SESSION - Duration::from_secs(1));
    assert_eq!(beat(&mut world), Ok(()));
    world.pass(Duration::from_secs(2));
    assert_eq!(beat(&mut world), Err(GroupError::RebalanceInProgress));
    let ticket = world.join(rejoin("a"));
    assert_eq!(world.accepted(ticket).members.len(), 1);
}

#[test]
fn the_leader_s_departure_makes_another_member_lead() {
    let (mut world, ..) = World::stable();
    let leave = Leave {
        member_id: "a".to_owned(),
        instance_id: None,
    };
    assert_eq!(world.group.handle_leave(&leave, world.now), Ok(()));
    world.collect();
    let ticket = world.join(rejoin("b"));
    let b = world.accepted(ticket);
    assert_eq!(
        (b.leader.as_str(), b.members.len(), b.generation),
        ("b", 1, 2)
    );
}

#[test]
fn a_member_that_does_not_fetch_its_assignment_is_dropped() {
    let mut world = World::new();
    let (a, b) = (world.join(join("a")), world.join(join("b")));
    world.pass(DELAY * 2);
    let a = world.accepted(a);
    world.accepted(b);
    let of_a = world.sync(&a, &[]);
    assert_eq!(world.assignment(of_a), "");
    // Only a heard of it; b's session ends.
    world.pass(SESSION);
    let beat = world
        .group
        .handle_heartbeat(&participant("b", 1), world.now);
    assert_eq!(beat, Err(GroupError::UnknownMember));
}

#[test]
fn a_new_member_must_come_again_with_its_id() {
    let mut world = World::new();
    let first = world.join(Join {
        must_know_its_id: true,
        ..join("a")
    });
    let required = GroupError::MemberIdRequired("a".to_owned());
    assert_eq!(world.joined.get(&first), Some(&Err(required)));
    let second = world.join(Join {
        must_know_its_id: true,
        ..rejoin("a")
    });
    world.pass(DELAY * 2);
    assert_eq!(world.accepted(second).member_id, "a");
    let stranger = world.join(rejoin("stranger"));
    assert_eq!(
        world.joined.get(&stranger),
        Some(&Err(GroupError::UnknownMember))
    );
}

#[test]
fn an_announced_member_that_never_comes_does_not_hold_the_group() {
    let (mut world, ..) = World::stable();
    world.join(Join {
        must_know_its_id: true,
        ..join("c")
    });
    let beat = |world: &mut World, id| world.group.handle_heartbeat(&participant(id, 1), world.now);
    world.pass(SESSION / 2);
    assert_eq!(
        (beat(&mut world, "a"), beat(&mut world, "b")),
        (Ok(()), Ok(()))
    );
    world.pass(SESSION - Duration::from_secs(1));
    assert_eq!(
        (beat(&mut world, "a"), beat(&mut world, "b")),
        (Ok(()), Ok(()))
    );
}

#[test]
fn members_without_a_common_assignor_do_not_meet() {
    let (mut world, ..) = World::stable();
    let other = vec![("sticky".to_owned(), Bytes::new())];
    let refused = world.join(Join {
        protocols: other,
        ..join("c")
    });
    assert_eq!(
        world.joined.get(&refused),
        Some(&Err(GroupError::InconsistentProtocol))
    );
    let none = world.join(Join {
        protocols: Vec::new(),
        ..join("d")
    });
    assert_eq!(
        world.joined.get(&none),
        Some(&Err(GroupError::InconsistentProtocol))
    );
}

#[test]
fn the_assignor_is_the_common_one_that_most_like_best() {
    let mut world = World::new();
    let offering = |id: &str, names: &[&str]| Join {
        protocols: names
            .iter()
            .map(|name| ((*name).to_owned(), Bytes::new()))
            .collect(),
        ..join(id)
    };
    let tickets = [
        world.join(offering("a", &["only-a", "x", "y"])),
        world.join(offering("b", &["y", "x"])),
        world.join(offering("c", &["y", "x"])),
    ];
    world.pass(DELAY * 4);
    for ticket in tickets {
        assert_eq!(world.accepted(ticket).protocol, "y");
    }
}

#[test]
fn a_static_member_that_returns_keeps_its_assignment_and_fences_the_old() {
    let mut world = World::new();
    let named = |id: &str| Join {
        instance_id: Some("i".to_owned()),
        ..join(id)
    };
    let first = world.join(named("first"));
    world.pass(DELAY * 2);
    let joined = world.accepted(first);
    let fixed = |id: &str| Participant {
        instance_id: Some("i".to_owned()),
        ..participant(id, 1)
    };
    let sync = |world: &mut World, id: &str, assignments: Vec<(String, Bytes)>| {
        world.tickets += 1;
        let sync = Sync {
            member: fixed(id),
            protocol_type: None,
            protocol: None,
            assignments,
        };
        world
            .group
            .handle_sync(sync, Ticket(world.tickets), world.now);
        world.collect();
        world.tickets
    };
    sync(
        &mut world,
        "first",
        vec![(joined.member_id, Bytes::from_static(b"mine"))],
    );

    let second = world.join(named("second"));
    let back = world.accepted(second);
    assert_eq!(
        (back.generation, back.skip_assignment, back.leader.as_str()),
        (1, true, "second")
    );
    let ticket = sync(&mut world, "second", Vec::new());
    assert_eq!(world.assignment(ticket), "mine");
    let fenced = world.group.handle_heartbeat(&fixed("first"), world.now);
    assert_eq!(fenced, Err(GroupError::FencedInstance));
    assert_eq!(
        world.group.handle_heartbeat(&fixed("second"), world.now),
        Ok(())
    );
}

#[test]
fn commits_are_taken_from_this_generation_or_from_nobody_s_group() {
    let mut empty = Group::new(DELAY);
    let now = Instant::now();
    assert_eq!(empty.handle_commit(&participant("", -1), now), Ok(()));
    let (mut world, ..) = World::stable();
    let mut commit = |id, generation| world.group.handle_commit(&participant(id, generation), now);
    assert_eq!(commit("a", 1), Ok(()));
    assert_eq!(commit("a", 0), Err(GroupError::IllegalGeneration));
    assert_eq!(commit("stranger", 1), Err(GroupError::UnknownMember));
    assert_eq!(commit("", -1), Err(GroupError::UnknownMember));
}

proptest! {
    /// Whatever members do and in whatever order, once all that live have done their part the group
    /// is at rest, with one leader, and everyone's requests were answered once.
    #[test]
    fn any_history_comes_to_rest(
        steps in proptest::collection::vec((0u8..5, 0usize..4, 0u64..15), 0..60),
    ) {
        let mut world = World::new();
        let names = ["a", "b", "c", "d"];
        let mut alive: BTreeMap<&str, Option<u64>> = BTreeMap::new();
        for (step, who, seconds) in steps {
            let name = names[who];
            let generation = alive.get(name).copied().flatten()
                .and_then(|ticket| world.joined.get(&ticket)?.clone().ok())
                .map_or(0, |joined| joined.generation);
            match step {
                0 | 1 => {
                    let request = if alive.contains_key(name) { rejoin(name) } else { join(name) };
                    let ticket = world.join(request);
                    let refused = world.joined.get(&ticket).is_some_and(Result::is_err);
                    alive.insert(name, (!refused).then_some(ticket));
                    if refused { alive.remove(name); }
                }
                2 => {
                    let leave = Leave { member_id: name.to_owned(), instance_id: None };
                    let _ = world.group.handle_leave(&leave, world.now);
                    world.collect();
                    alive.remove(name);
                }
                3 => {
                    let _ = world.group.handle_heartbeat(&participant(name, generation), world.now);
                }
                _ => world.pass(Duration::from_secs(seconds)),
            }
        }
        // Everyone falls silent: the group must empty itself, and leave no request waiting.
        world.pass(REBALANCE * 10);
        prop_assert!(world.group.is_empty());
        prop_assert_eq!(world.group.poll_timeout(), None);
        for ticket in 1..=world.tickets {
            prop_assert!(world.joined.contains_key(&ticket), "join {ticket} was never answered");
        }
    }
}
