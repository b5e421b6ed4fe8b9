//! The rules of a group's members, request by request.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DescribeGroupsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest, SyncGroupRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::cluster::{Cluster, PATIENCE, Process, unique};
use crate::groups::{Noting, assigned, noting_member, poll_until};
use crate::wire::{connect, exchange, exchange_until};

const UNKNOWN_MEMBER_ID: i16 = 25;
const INVALID_SESSION_TIMEOUT: i16 = 26;
const MEMBER_ID_REQUIRED: i16 = 79;
const FENCED_INSTANCE_ID: i16 = 82;

/// A connection, and the group that is spoken of on it.
struct Group {
    stream: TcpStream,
    id: GroupId,
}

/// Who joins, and how.
#[derive(Clone)]
struct Joining<'a> {
    member_id: &'a str,
    instance_id: Option<&'a str>,
    session: Duration,
    rebalance: Duration,
}

const NEW: Joining<'_> = Joining {
    member_id: "",
    instance_id: None,
    session: Duration::from_secs(6),
    rebalance: Duration::from_secs(6),
};

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap()
}

impl Group {
    fn new(bootstrap: &str, id: &str) -> Self {
        let mut stream = connect(bootstrap);
        // A cluster that was just started may have to set up its coordinator first.
        let find = FindCoordinatorRequest::default().with_key(text(id));
        exchange_until(&mut stream, 2, &find, |answer| answer.error_code == 0);
        let id = GroupId(text(id));
        Self { stream, id }
    }

    fn join(&mut self, joining: &Joining<'_>) -> JoinGroupResponse {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(Bytes::from_static(b"\0\0\0\0\0\0\0\0\0\0"));
        let request = JoinGroupRequest::default()
            .with_group_id(self.id.clone())
            .with_session_timeout_ms(millis(joining.session))
            .with_rebalance_timeout_ms(millis(joining.rebalance))
            .with_member_id(text(joining.member_id))
            .with_group_instance_id(joining.instance_id.map(text))
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol]);
        let retry = |answer: &JoinGroupResponse| !matches!(answer.error_code, 14..=16);
        exchange_until(&mut self.stream, 5, &request, retry)
    }

    /// Joins as a new member under the id that the group gives.
    fn join_new(&mut self, joining: &Joining<'_>) -> JoinGroupResponse {
        let first = self.join(joining);
        assert_eq!(first.error_code, MEMBER_ID_REQUIRED);
        let member_id = first.member_id.to_string();
        let joined = self.join(&Joining {
            member_id: &member_id,
            ..joining.clone()
        });
        assert_eq!(joined.error_code, 0);
        joined
    }

    fn sync(
        &mut self,
        member: &JoinGroupResponse,
        instance_id: Option<&str>,
        assignment: Option<&'static str>,
    ) -> Bytes {
        let assignments = assignment.map(|assignment| {
            SyncGroupRequestAssignment::default()
                .with_member_id(member.member_id.clone())
                .with_assignment(Bytes::from_static(assignment.as_bytes()))
        });
        let request = SyncGroupRequest::default()
            .with_group_id(self.id.clone())
            .with_generation_id(member.generation_id)
            .with_member_id(member.member_id.clone())
            .with_group_instance_id(instance_id.map(text))
            .with_assignments(assignments.into_iter().collect());
        let answer = exchange(&mut self.stream, 3, &request);
        assert_eq!(answer.error_code, 0);
        answer.assignment
    }

    fn heartbeat(&mut self, member: &JoinGroupResponse, instance_id: Option<&str>) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(self.id.clone())
            .with_generation_id(member.generation_id)
            .with_member_id(member.member_id.clone())
            .with_group_instance_id(instance_id.map(text));
        exchange(&mut self.stream, 3, &request).error_code
    }

    fn commit(&mut self, member: &JoinGroupResponse, instance_id: &str, topic: &str) -> i16 {
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(1);
        let topic = OffsetCommitRequestTopic::default()
            .with_name(TopicName(text(topic)))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(self.id.clone())
            .with_generation_id_or_member_epoch(member.generation_id)
            .with_member_id(member.member_id.clone())
            .with_group_instance_id(Some(text(instance_id)))
            .with_topics(vec![topic]);
        exchange(&mut self.stream, 7, &request).topics[0].partitions[0].error_code
    }

    fn leave(&mut self, instance_id: &str) -> i16 {
        let member = MemberIdentity::default().with_group_instance_id(Some(text(instance_id)));
        let request = LeaveGroupRequest::default()
            .with_group_id(self.id.clone())
            .with_members(vec![member]);
        exchange(&mut self.stream, 4, &request).members[0].error_code
    }

    fn members(&mut self) -> usize {
        let request = DescribeGroupsRequest::default().with_groups(vec![self.id.clone()]);
        exchange(&mut self.stream, 4, &request).groups[0]
            .members
            .len()
    }
}

#[test]
fn session_timeouts_beyond_the_limits_are_refused() {
    let cluster = Cluster::start();
    let mut group = Group::new(cluster.bootstrap(), &unique("group"));
    for session in [5_999, 1_800_001] {
        let session = Duration::from_millis(session);
        let refused = group.join(&Joining { session, ..NEW });
        assert_eq!(refused.error_code, INVALID_SESSION_TIMEOUT);
    }
}

#[test]
fn a_member_that_is_not_heard_of_is_dropped_when_its_session_ends() {
    let cluster = Cluster::start();
    let mut group = Group::new(cluster.bootstrap(), &unique("group"));
    let member = group.join_new(&NEW);
    group.sync(&member, None, Some("all"));
    let silent_since = Instant::now();
    while group.members() == 1 {
        assert!(silent_since.elapsed() < PATIENCE, "the member stays");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(silent_since.elapsed() > NEW.session - Duration::from_millis(500));
    assert_eq!(group.heartbeat(&member, None), UNKNOWN_MEMBER_ID);
}

#[test]
fn a_rebalance_waits_for_members_as_long_as_they_said_and_no_longer() {
    let cluster = Cluster::start();
    let id = unique("group");
    let mut group = Group::new(cluster.bootstrap(), &id);
    let joining = Joining {
        session: Duration::from_secs(60),
        rebalance: Duration::from_secs(2),
        ..NEW
    };
    let late = group.join_new(&joining);
    group.sync(&late, None, Some("all"));
    let mut other = Group::new(cluster.bootstrap(), &id);
    let started = Instant::now();
    let joined = other.join_new(&joining);
    assert_eq!(joined.members.len(), 1);
    assert_eq!(joined.generation_id, late.generation_id + 1);
    assert!(started.elapsed() > Duration::from_millis(1_900));
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(group.heartbeat(&late, None), UNKNOWN_MEMBER_ID);
}

#[test]
fn a_static_member_is_known_by_its_instance() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    let mut group = Group::new(cluster.bootstrap(), &unique("group"));
    let name = Some("instance");
    let fixed = Joining {
        instance_id: name,
        ..NEW
    };
    let first = group.join(&fixed);
    assert_eq!(first.error_code, 0);
    group.sync(&first, name, Some("mine"));
    // Another process with the name takes over its place: no rebalance, the same assignment.
    let second = group.join(&fixed);
    assert_eq!(second.generation_id, first.generation_id);
    assert_ne!(second.member_id, first.member_id);
    assert_eq!(group.sync(&second, name, None), "mine");
    assert_eq!(group.heartbeat(&first, name), FENCED_INSTANCE_ID);
    assert_eq!(group.commit(&first, "instance", &topic), FENCED_INSTANCE_ID);
    assert_eq!(group.heartbeat(&second, name), 0);
    assert_eq!(group.commit(&second, "instance", &topic), 0);
    let rejoined = group.join(&Joining {
        member_id: &first.member_id.to_string(),
        ..fixed
    });
    assert_eq!(rejoined.error_code, FENCED_INSTANCE_ID);
    // An operator takes it out by its name.
    assert_eq!(group.leave("another"), UNKNOWN_MEMBER_ID);
    assert_eq!(group.leave("instance"), 0);
    assert_eq!(group.members(), 0);
}

#[test]
fn members_go_on_after_the_broker_was_killed() {
    let mut process = Process::start();
    let bootstrap = process.cluster().bootstrap().to_owned();
    let (plain, fixed) = (unique("group"), unique("group"));
    let mut group = Group::new(&bootstrap, &plain);
    let member = group.join_new(&NEW);
    group.sync(&member, None, Some("all"));
    let name = Some("instance");
    let joining = Joining {
        instance_id: name,
        ..NEW
    };
    let mut static_group = Group::new(&bootstrap, &fixed);
    let static_member = static_group.join(&joining);
    static_group.sync(&static_member, name, Some("mine"));

    process.kill();
    process.restart();
    let mut group = Group::new(&bootstrap, &plain);
    assert_eq!(group.heartbeat(&member, None), 0);
    assert_eq!(group.sync(&member, None, None), "all");
    let mut static_group = Group::new(&bootstrap, &fixed);
    let back = static_group.join(&joining);
    assert_eq!(back.generation_id, static_member.generation_id);
    assert_eq!(static_group.sync(&back, name, None), "mine");
}

#[test]
fn a_cooperative_rebalance_takes_only_what_moves() {
    let cluster = Cluster::start();
    let topic = cluster.topic(4, &[]);
    let group = unique("group");
    let settings = [("partition.assignment.strategy", "cooperative-sticky")];
    let consumer = || noting_member(&cluster, &group, &topic, &settings);
    let counts = |consumers: &[&BaseConsumer<Noting>]| -> Vec<usize> {
        let counts = consumers.iter().map(|consumer| assigned(consumer).len());
        counts.collect()
    };
    let first = consumer();
    poll_until(&[&first], || counts(&[&first]) == [4]);
    let kept = assigned(&first);
    let second = consumer();
    poll_until(&[&first, &second], || counts(&[&first, &second]) == [2, 2]);
    assert_eq!(*first.context().revoked.lock().unwrap(), [2]);
    assert!(assigned(&first).is_subset(&kept));
    assert!(assigned(&first).is_disjoint(&assigned(&second)));
}
