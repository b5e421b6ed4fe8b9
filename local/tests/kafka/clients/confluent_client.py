"""confluent-kafka does the script of mod.rs."""

import time

from confluent_kafka import (
    OFFSET_BEGINNING, Consumer, ConsumerGroupState, Producer, TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic, OffsetSpec

from script import (
    BOOTSTRAP, CODECS, EXTRAS, GROUP, LIMIT_S, PARTITIONS, RECORDS_IN_ROUND,
    RETENTION_MS, TIME_MS, TOPIC, records, say, wait_to_be_told,
)

admin = AdminClient({"bootstrap.servers": BOOTSTRAP})


def done(futures):
    return {name: future.result(LIMIT_S) for name, future in futures.items()}


def produce(name, codec):
    producer = Producer({
        "bootstrap.servers": BOOTSTRAP,
        "acks": "all",
        "enable.idempotence": True,
        "compression.type": codec,
        # Records go together, so that there is something to compress.
        "linger.ms": 50,
        # As Java's clients choose a partition.
        "partitioner": "murmur2_random",
    })
    refused = []
    for key, value, headers, timestamp in records(name):
        producer.produce(
            TOPIC, value, key, timestamp=timestamp, headers=headers,
            on_delivery=lambda error, _: error and refused.append(error),
        )
    assert producer.flush(LIMIT_S) == 0 and not refused, refused


def consume(count):
    consumer = Consumer({
        "bootstrap.servers": BOOTSTRAP,
        "group.id": GROUP,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    })
    consumer.subscribe([TOPIC])
    seen = []
    deadline = time.monotonic() + LIMIT_S
    while len(seen) < count and time.monotonic() < deadline:
        message = consumer.poll(1)
        if message is None:
            continue
        assert message.error() is None, message.error()
        headers = [(name, value.decode()) for name, value in message.headers()]
        seen.append((
            message.partition(), message.offset(), message.key().decode(),
            message.value().decode(), headers, message.timestamp()[1],
        ))
    consumer.commit(asynchronous=False)
    consumer.close()
    return seen


def times():
    consumer = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": "none"})
    asked = [TopicPartition(TOPIC, partition, TIME_MS) for partition in range(PARTITIONS)]
    found = consumer.offsets_for_times(asked, LIMIT_S)
    consumer.close()
    return [(partition.partition, partition.offset) for partition in found]


def describe():
    partitions = len(admin.list_topics(TOPIC, LIMIT_S).topics[TOPIC].partitions)
    resource = ConfigResource(ConfigResource.Type.TOPIC, TOPIC)
    (config,) = done(admin.describe_configs([resource])).values()
    return {"partitions": partitions, "retention.ms": config["retention.ms"].value}


def transactions():
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "transactional.id": GROUP})
    producer.init_transactions(LIMIT_S)
    for key, end in (
        ("aborted", producer.abort_transaction), ("committed", producer.commit_transaction),
    ):
        producer.begin_transaction()
        producer.produce(TOPIC, key, key, partition=0)
        assert producer.flush(LIMIT_S) == 0
        end(LIMIT_S)
    consumer = Consumer({
        "bootstrap.servers": BOOTSTRAP, "group.id": "none", "isolation.level": "read_committed",
    })
    consumer.assign([TopicPartition(TOPIC, 0, OFFSET_BEGINNING)])
    seen = []
    deadline = time.monotonic() + LIMIT_S
    while "committed" not in seen and time.monotonic() < deadline:
        message = consumer.poll(1)
        if message is not None and message.value() == message.key():
            seen.append(message.key().decode())
    consumer.close()
    return seen


def groups():
    listed = admin.list_consumer_groups().result(LIMIT_S).valid
    (described,) = done(admin.describe_consumer_groups([GROUP])).values()
    done(admin.delete_consumer_groups([GROUP]))
    left = admin.list_consumer_groups().result(LIMIT_S).valid
    return {
        "listed": any(group.group_id == GROUP for group in listed),
        "empty": described.state is ConsumerGroupState.EMPTY,
        "deleted": all(group.group_id != GROUP for group in left),
    }


def delete_records():
    done(admin.delete_records([TopicPartition(TOPIC, 0, 1)]))
    asked = {TopicPartition(TOPIC, 0): OffsetSpec.earliest()}
    (first,) = done(admin.list_offsets(asked)).values()
    return {"first": first.offset}


def add_partition():
    done(admin.create_partitions([NewPartitions(TOPIC, PARTITIONS + 1)]))
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        partitions = len(admin.list_topics(TOPIC, LIMIT_S).topics[TOPIC].partitions)
        if partitions > PARTITIONS:
            break
    return {"partitions": partitions}


def delete():
    done(admin.delete_topics([TOPIC]))
    deadline = time.monotonic() + LIMIT_S
    while TOPIC in (there := admin.list_topics(timeout=LIMIT_S).topics):
        if time.monotonic() > deadline:
            break
    return TOPIC not in there


say("brokers", [f"{it.host}:{it.port}" for it in admin.list_topics(timeout=LIMIT_S).brokers.values()])
done(admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1, config={"retention.ms": RETENTION_MS})]))
say("create", True)
for codec in CODECS:
    produce(codec, codec)
say("produce", CODECS)
say("consume", consume(len(CODECS) * RECORDS_IN_ROUND))
produce("late", "none")
say("resume", consume(RECORDS_IN_ROUND))
say("times", times())
say("describe", describe())
wait_to_be_told()
if "transactions" in EXTRAS:
    say("transactions", transactions())
if "groups" in EXTRAS:
    say("groups", groups())
if "delete-records" in EXTRAS:
    say("delete-records", delete_records())
if "partitions" in EXTRAS:
    say("partitions", add_partition())
say("delete", delete())
