"""kafka-python does the script of mod.rs."""

import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from script import (
    BOOTSTRAP, CODECS, EXTRAS, GROUP, LIMIT_S, PARTITIONS, RECORDS_IN_ROUND, RETENTION_MS,
    TIME_MS, TOPIC, records, say, wait_to_be_told,
)

admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)


def produce(name, codec):
    producer = KafkaProducer(
        bootstrap_servers=BOOTSTRAP,
        acks="all",
        enable_idempotence=True,
        compression_type=None if codec == "none" else codec,
        # Records go together, so that there is something to compress.
        linger_ms=50,
    )
    sent = [
        producer.send(
            TOPIC, value.encode(), key.encode(), timestamp_ms=timestamp,
            headers=[(header, text.encode()) for header, text in headers],
        )
        for key, value, headers, timestamp in records(name)
    ]
    for future in sent:
        future.get(LIMIT_S)
    producer.close()


def consume(count):
    consumer = KafkaConsumer(
        TOPIC,
        bootstrap_servers=BOOTSTRAP,
        group_id=GROUP,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    seen = []
    deadline = time.monotonic() + LIMIT_S
    while len(seen) < count and time.monotonic() < deadline:
        for messages in consumer.poll(1000).values():
            for message in messages:
                headers = [(name, value.decode()) for name, value in message.headers]
                seen.append((
                    message.partition, message.offset, message.key.decode(),
                    message.value.decode(), headers, message.timestamp,
                ))
    consumer.commit()
    consumer.close()
    return seen


def times():
    consumer = KafkaConsumer(bootstrap_servers=BOOTSTRAP)
    asked = {TopicPartition(TOPIC, partition): TIME_MS for partition in range(PARTITIONS)}
    found = consumer.offsets_for_times(asked)
    consumer.close()
    return [(partition.partition, found[partition].offset) for partition in asked]


def partitions():
    (topic,) = admin.describe_topics([TOPIC])
    return len(topic["partitions"])


def describe():
    configs = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, TOPIC)])
    retention = configs["topic"][TOPIC]["retention.ms"]
    return {"partitions": partitions(), "retention.ms": retention["value"]}


def transactions():
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, transactional_id=GROUP)
    producer.init_transactions()
    for key, end in (
        ("aborted", producer.abort_transaction), ("committed", producer.commit_transaction),
    ):
        producer.begin_transaction()
        producer.send(TOPIC, key.encode(), key.encode(), partition=0).get(LIMIT_S)
        end()
    producer.close()
    consumer = KafkaConsumer(bootstrap_servers=BOOTSTRAP, isolation_level="read_committed")
    consumer.assign([TopicPartition(TOPIC, 0)])
    consumer.seek_to_beginning()
    seen = []
    deadline = time.monotonic() + LIMIT_S
    while "committed" not in seen and time.monotonic() < deadline:
        for messages in consumer.poll(1000).values():
            seen.extend(it.key.decode() for it in messages if it.value == it.key)
    consumer.close()
    return seen


def listed():
    return any(group["group_id"] == GROUP for group in admin.list_groups())


def groups():
    there = listed()
    state = admin.describe_groups([GROUP])[GROUP]["group_state"]
    admin.delete_groups([GROUP])
    return {"listed": there, "empty": state == "Empty", "deleted": not listed()}


def delete_records():
    admin.delete_records({TopicPartition(TOPIC, 0): 1})
    consumer = KafkaConsumer(bootstrap_servers=BOOTSTRAP)
    first = consumer.beginning_offsets([TopicPartition(TOPIC, 0)])
    consumer.close()
    return {"first": first[TopicPartition(TOPIC, 0)]}


def add_partition():
    admin.create_partitions({TOPIC: PARTITIONS + 1})
    deadline = time.monotonic() + LIMIT_S
    while partitions() == PARTITIONS and time.monotonic() < deadline:
        pass
    return {"partitions": partitions()}


def delete():
    admin.delete_topics([TOPIC])
    deadline = time.monotonic() + LIMIT_S
    while TOPIC in admin.list_topics() and time.monotonic() < deadline:
        pass
    return TOPIC not in admin.list_topics()


say("brokers", [f"{it['host']}:{it['port']}" for it in admin.describe_cluster()["brokers"]])
admin.create_topics({TOPIC: {
    "num_partitions": PARTITIONS, "replication_factor": 1, "configs": {"retention.ms": RETENTION_MS},
}})
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
