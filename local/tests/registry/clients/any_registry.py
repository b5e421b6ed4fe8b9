"""What Python serializers need of any maker's registry, at argv[1]. Prints "ok" at the end. Subjects
are new ones, since the registry may be one that others use."""

import sys
import uuid

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext
from schema_registry.client import SchemaRegistryClient as OtherClient
from schema_registry.client.schema import AvroSchema
from schema_registry.serializers import AvroMessageSerializer

ROW = """{"type": "record", "name": "Row", "namespace": "shop", "fields": [
    {"name": "id", "type": "long"},
    {"name": "title", "type": ["null", "string"], "default": null}]}"""
VALUE = {"id": 7, "title": "ä"}


def refusal(action):
    try:
        action()
    except SchemaRegistryError as error:
        return error.http_status_code
    raise AssertionError("the registry took it")


url, topic = sys.argv[1], f"rows-{uuid.uuid4()}"
subject = f"{topic}-value"
client = SchemaRegistryClient({"url": url})
context = SerializationContext(topic, MessageField.VALUE)
written = AvroSerializer(client, ROW)(VALUE, context)
assert AvroDeserializer(SchemaRegistryClient({"url": url}))(written, context) == VALUE
for settings in (
    {"auto.register.schemas": False},
    {"auto.register.schemas": False, "use.latest.version": True},
):
    again = AvroSerializer(client, ROW, conf=settings)(VALUE, context)
    assert again == written, (settings, again)

client.set_compatibility(subject, "BACKWARD")
wider, other = (Schema(ROW.replace('"long"', new), "AVRO") for new in ('"double"', '"string"'))
assert client.test_compatibility(subject, wider)
assert not client.test_compatibility(subject, other)
assert refusal(lambda: client.register_schema(subject, other)) == 409
assert refusal(lambda: client.register_schema(subject, Schema("{", "AVRO"))) == 422
assert refusal(lambda: client.get_latest_version(f"none-{topic}")) == 404
second = client.register_schema(subject, wider)
# The first client remembers what was the latest.
assert SchemaRegistryClient({"url": url}).get_latest_version(subject).schema_id == second
assert client.get_versions(subject) == [1, 2]
assert subject in client.get_subjects()

serializer = AvroMessageSerializer(OtherClient(url))
written = serializer.encode_record_with_schema(f"other-{subject}", AvroSchema(ROW), VALUE)
assert AvroMessageSerializer(OtherClient(url)).decode_message(written) == VALUE
print("ok")
