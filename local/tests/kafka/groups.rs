//! Consumer groups as stock clients use them.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{ClientContext, Message, Offset, TopicPartitionList};

use crate::clients::installed;
use crate::cluster::{Cluster, PATIENCE, unique};
use crate::records::{next, send_numbered, take};

/// Polls all consumers until `holds`.
#[track_caller]
pub(crate) fn poll_until<C: ConsumerContext>(
    consumers: &[&BaseConsumer<C>],
    holds: impl Fn() -> bool,
) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}");
        for consumer in consumers {
            if let Some(Err(failure)) = consumer.poll(Duration::from_millis(20)) {
                panic!("{failure}");
            }
        }
    }
}

/// How long a member's session lasts at the least after it fell silent: it may have been renewed some
/// time before.
const SESSION_MIN: Duration = Duration::from_secs(5);

/// Settings of consumers that share the partitions of a group.
pub(crate) fn settings_of_member(group: &str) -> [(&str, &str); 4] {
    [
        ("group.id", group),
        ("auto.offset.reset", "earliest"),
        ("session.timeout.ms", "6000"),
        ("heartbeat.interval.ms", "500"),
    ]
}

pub(crate) fn member(
    cluster: &Cluster,
    group: &str,
    topic: &str,
    settings: &[(&str, &str)],
) -> BaseConsumer {
    let common = settings_of_member(group);
    let consumer = cluster.consumer(&[&common[..], settings].concat());
    consumer.subscribe(&[topic]).unwrap();
    consumer
}

/// Notes what is taken from a consumer.
#[derive(Default)]
pub(crate) struct Noting {
    pub(crate) revoked: Mutex<Vec<usize>>,
}

impl ClientContext for Noting {}

impl ConsumerContext for Noting {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            self.revoked.lock().unwrap().push(partitions.count());
        }
    }
}

pub(crate) fn noting_member(
    cluster: &Cluster,
    group: &str,
    topic: &str,
    settings: &[(&str, &str)],
) -> BaseConsumer<Noting> {
    let mut config = cluster.client();
    for (name, value) in settings_of_member(group).iter().chain(settings) {
        config.set(*name, *value);
    }
    let consumer: BaseConsumer<Noting> = config.create_with_context(Noting::default()).unwrap();
    consumer.subscribe(&[topic]).unwrap();
    consumer
}

pub(crate) fn assigned<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> BTreeSet<i32> {
    let assignment = consumer.assignment().unwrap();
    assignment
        .elements()
        .iter()
        .map(TopicPartitionListElem::partition)
        .collect()
}

pub(crate) fn shared<C: ConsumerContext>(consumers: &[&BaseConsumer<C>], partitions: i32) -> bool {
    let sets: Vec<_> = consumers
        .iter()
        .map(|consumer| assigned(consumer))
        .collect();
    let all: BTreeSet<i32> = sets.iter().flatten().copied().collect();
    let count: usize = sets.iter().map(BTreeSet::len).sum();
    all == (0..partitions).collect() && count == all.len() && sets.iter().all(|set| !set.is_empty())
}

#[test]
fn a_group_goes_on_where_it_committed() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    let group = unique("group");
    send_numbered(&cluster, &cluster.producer(&[]), &topic, 0..20);
    let first = member(&cluster, &group, &topic, &[]);
    take(&first, 7);
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset(&topic, 0, Offset::Offset(7))
        .unwrap();
    first.commit(&offsets, CommitMode::Sync).unwrap();
    // The list must be gone before its consumer, or the client waits for it for ever.
    let found = |list: &TopicPartitionList| list.find_partition(&topic, 0).unwrap().offset();
    assert_eq!(
        found(&first.committed(PATIENCE).unwrap()),
        Offset::Offset(7)
    );
    drop(first);
    let second = member(&cluster, &group, &topic, &[]);
    assert_eq!(next(&second).offset(), 7);
}

#[test]
fn members_share_the_partitions_and_take_over_from_one_that_leaves() {
    let cluster = Cluster::start();
    for strategy in ["range", "roundrobin", "cooperative-sticky"] {
        let topic = cluster.topic(6, &[]);
        let group = unique("group");
        let settings = [("partition.assignment.strategy", strategy)];
        let first = member(&cluster, &group, &topic, &settings);
        poll_until(&[&first], || shared(&[&first], 6));
        let second = member(&cluster, &group, &topic, &settings);
        poll_until(&[&first, &second], || shared(&[&first, &second], 6));
        let third = member(&cluster, &group, &topic, &settings);
        poll_until(&[&first, &second, &third], || {
            shared(&[&first, &second, &third], 6)
        });
        drop(first);
        poll_until(&[&second, &third], || shared(&[&second, &third], 6));
    }
}

#[test]
fn a_member_that_falls_silent_loses_its_partitions() {
    let cluster = Cluster::start();
    let topic = cluster.topic(2, &[]);
    let group = unique("group");
    // A consumer that is not polled for this long leaves; the broker's own timer is longer here.
    let silent = member(
        &cluster,
        &group,
        &topic,
        &[("max.poll.interval.ms", "6000")],
    );
    poll_until(&[&silent], || shared(&[&silent], 2));
    let alive = member(&cluster, &group, &topic, &[]);
    let deadline = Instant::now() + PATIENCE;
    while assigned(&alive).len() < 2 {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}");
        alive.poll(Duration::from_millis(50));
    }
    // It does not come back to say goodbye, either. The client would wait for ever now and then if
    // it were closed: an answer to a rebalance is not heard once the close has ended
    // (librdkafka's issue 4041).
    std::mem::forget(silent);
}

#[test]
fn a_static_member_that_comes_back_finds_its_partitions_without_a_rebalance() {
    let cluster = Cluster::start();
    let topic = cluster.topic(4, &[]);
    let group = unique("group");
    let named = |name| noting_member(&cluster, &group, &topic, &[("group.instance.id", name)]);
    let (first, second) = (named("a"), named("b"));
    poll_until(&[&first, &second], || shared(&[&first, &second], 4));
    let before = (assigned(&first), assigned(&second));
    let revoked = |of: &BaseConsumer<Noting>| of.context().revoked.lock().unwrap().len();
    let revoked_before = revoked(&second);
    drop(first);
    let first = named("a");
    poll_until(&[&first, &second], || shared(&[&first, &second], 4));
    assert_eq!((assigned(&first), assigned(&second)), before);
    assert_eq!(revoked(&second), revoked_before);
}

#[test]
fn a_static_member_that_stays_away_loses_its_partitions_when_its_session_ends() {
    let cluster = Cluster::start();
    let topic = cluster.topic(4, &[]);
    let group = unique("group");
    let named = |name| member(&cluster, &group, &topic, &[("group.instance.id", name)]);
    let (first, second) = (named("a"), named("b"));
    poll_until(&[&first, &second], || shared(&[&first, &second], 4));
    // It does not leave, so that it could come back.
    drop(first);
    let away_since = Instant::now();
    poll_until(&[&second], || shared(&[&second], 4));
    assert!(away_since.elapsed() > SESSION_MIN);
}

#[test]
fn of_two_members_with_one_instance_id_the_older_is_fenced() {
    let cluster = Cluster::start();
    let topic = cluster.topic(2, &[]);
    let group = unique("group");
    let named = || member(&cluster, &group, &topic, &[("group.instance.id", "a")]);
    let older = named();
    poll_until(&[&older], || shared(&[&older], 2));
    let newer = named();
    let fatal = || older.client().fatal_error();
    poll_until(&[&newer], || {
        // Errors of it are what is waited for.
        let _ = older.poll(Duration::ZERO);
        fatal().is_some() && shared(&[&newer], 2)
    });
    let (code, _) = fatal().unwrap();
    assert_eq!(code, RDKafkaErrorCode::FencedInstanceId);
    // The newer one does not notice.
    drop(older);
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset(&topic, 0, Offset::Offset(0))
        .unwrap();
    newer.commit(&offsets, CommitMode::Sync).unwrap();
    assert!(shared(&[&newer], 2));
}

/// kcat as a member of a group, in a process that can be stopped: its connections stay open, and
/// nothing is read from them or written to them any more, as if its machine were gone.
struct Stoppable(Child);

impl Stoppable {
    fn start(cluster: &Cluster, group: &str, topic: &str) -> Self {
        let mut command = installed("kcat");
        command.args(["-q", "-b", cluster.bootstrap()]);
        for (name, value) in settings_of_member(group) {
            command.args(["-X", &format!("{name}={value}")]);
        }
        command.args(["-G", group, topic]).stdout(Stdio::null());
        Self(command.spawn().expect("kcat, a Debian package"))
    }

    fn signal(&self, signal: &str) {
        let id = self.0.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Stoppable {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_member_whose_process_stands_still_is_evicted_and_comes_back_when_it_goes_on() {
    let cluster = Cluster::start();
    let topic = cluster.topic(2, &[]);
    let group = unique("group");
    let other = Stoppable::start(&cluster, &group, &topic);
    let alive = member(&cluster, &group, &topic, &[]);
    poll_until(&[&alive], || assigned(&alive).len() == 1);
    other.signal("-STOP");
    let silent_since = Instant::now();
    poll_until(&[&alive], || shared(&[&alive], 2));
    assert!(silent_since.elapsed() > SESSION_MIN);
    other.signal("-CONT");
    poll_until(&[&alive], || assigned(&alive).len() == 1);
}

#[test]
fn offsets_are_committed_without_a_group_of_members() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    let group = unique("group");
    let consumer = cluster.consumer(&[("group.id", &group)]);
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset(&topic, 0, Offset::Offset(12))
        .unwrap();
    consumer.commit(&offsets, CommitMode::Sync).unwrap();
    let other = cluster.consumer(&[("group.id", &group)]);
    let mut asked = TopicPartitionList::new();
    asked.add_partition(&topic, 0);
    let found = other.committed_offsets(asked, PATIENCE).unwrap();
    assert_eq!(
        found.find_partition(&topic, 0).unwrap().offset(),
        Offset::Offset(12)
    );
}
