"""Reads changes of the articles with nothing but Confluent's own client.

usage: read_articles.py BOOTSTRAP REGISTRY COUNT
Prints COUNT changes, one JSON object a line: key, op, before, after.
"""

import json
import sys

from confluent_kafka import DeserializingConsumer, KafkaError
from confluent_kafka.error import ConsumeError
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer

TOPIC = "lockstep.public.articles"


def main(bootstrap, registry, count):
    schemas = SchemaRegistryClient({"url": registry})
    consumer = DeserializingConsumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "read-articles",
            "auto.offset.reset": "earliest",
            "topic.metadata.refresh.interval.ms": 500,
            # The topic is made with the first article; until then there is nothing to read.
            "allow.auto.create.topics": False,
            "key.deserializer": AvroDeserializer(schemas),
            "value.deserializer": AvroDeserializer(schemas),
        }
    )
    consumer.subscribe([TOPIC])
    try:
        while count > 0:
            try:
                message = consumer.poll(1.0)
            except ConsumeError as error:
                if error.code != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
                continue
            if message is None:
                continue
            change = message.value()
            if change["op"] == "t":
                # The table was emptied; a first snapshot begins so, too. That is no one article.
                continue
            print(
                json.dumps(
                    {
                        "key": message.key(),
                        "op": change["op"],
                        "before": change["before"],
                        "after": change["after"],
                    },
                    default=str,
                    ensure_ascii=False,
                ),
                flush=True,
            )
            count -= 1
    finally:
        consumer.close()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
