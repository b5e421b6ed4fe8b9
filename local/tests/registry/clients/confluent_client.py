"""Confluent's own Python serializers against the registry at argv[1]. Prints "ok" at the end."""

import sys

from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext

ROW = """{"type": "record", "name": "Row", "namespace": "shop", "fields": [
    {"name": "id", "type": "long"},
    {"name": "title", "type": ["null", "string"], "default": null},
    {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []}]}"""
WIDER = ROW.replace('"id", "type": "long"', '"id", "type": "double"')
NARROWER = ROW.replace('"id", "type": "long"', '"id", "type": "int"')
VALUE = {"id": 7, "title": "ä/ö", "tags": ["x"]}


def refusal(action):
    try:
        action()
    except SchemaRegistryError as error:
        return error.http_status_code, error.error_code
    raise AssertionError("the registry took it")


client = SchemaRegistryClient({"url": sys.argv[1]})
context = SerializationContext("rows", MessageField.VALUE)

# Registers on first use, and finds it again without registering.
written = AvroSerializer(client, ROW)(VALUE, context)
assert written[0] == 0, written
assert AvroDeserializer(client)(written, context) == VALUE
for settings in (
    {"auto.register.schemas": False},
    {"auto.register.schemas": False, "use.latest.version": True},
    {"normalize.schemas": True},
):
    again = AvroSerializer(client, ROW, conf=settings)(VALUE, context)
    assert again == written, (settings, again)

# A reader's schema of its own.
assert AvroDeserializer(client, WIDER)(written, context)["id"] == 7.0

# The client's whole API, on a subject that must be percent-encoded.
subject = "a/b c.ä-value"
first = client.register_schema(subject, Schema(ROW, "AVRO"))
assert first == int.from_bytes(written[1:5], "big")
assert client.test_compatibility(subject, Schema(WIDER, "AVRO"))
assert not client.test_compatibility(subject, Schema(NARROWER, "AVRO"))
assert refusal(lambda: client.register_schema(subject, Schema(NARROWER, "AVRO"))) == (409, 409)
second = client.register_schema(subject, Schema(WIDER, "AVRO"))
assert second != first
assert client.get_schema(second).schema_str.startswith('{"type":"record","name":"Row"')
assert client.lookup_schema(subject, Schema(WIDER, "AVRO")).version == 2
assert client.get_latest_version(subject).schema_id == second
assert client.get_version(subject, 1).schema_id == first
assert client.get_versions(subject) == [1, 2]
assert sorted(client.get_subjects()) == [subject, "rows-value"]
assert refusal(lambda: client.get_latest_version("none")) == (404, 40401)
assert refusal(lambda: client.get_version(subject, 9)) == (404, 40402)
assert refusal(lambda: client.register_schema(subject, Schema("{", "AVRO"))) == (422, 42201)

assert client.get_compatibility() == "BACKWARD"
client.set_compatibility(subject, "FULL_TRANSITIVE")
assert client.get_compatibility(subject) == "FULL_TRANSITIVE"
assert not client.test_compatibility(subject, Schema(WIDER.replace("double", "float"), "AVRO"))

# A schema that uses another subject's types.
order = Schema(
    """{"type": "record", "name": "Order", "namespace": "shop", "fields": [
        {"name": "row", "type": "Row"}]}""",
    "AVRO",
    [SchemaReference("shop.Row", subject, 2)],
)
order_value = {"row": {"id": 7.0, "title": None, "tags": []}}
orders = SerializationContext("orders", MessageField.VALUE)
ordered = AvroSerializer(client, order)(order_value, orders)
other = SchemaRegistryClient({"url": sys.argv[1]})
assert AvroDeserializer(other)(ordered, orders) == order_value
assert client.get_latest_version("orders-value").schema.references[0].version == 2
assert refusal(lambda: client.delete_subject(subject)) == (422, 42206)
client.delete_subject("orders-value")
client.delete_subject("orders-value", permanent=True)

assert client.delete_version(subject, 1) == 1
assert client.get_versions(subject) == [2]
assert client.delete_subject(subject) == [2]
assert client.delete_subject(subject, permanent=True) == [1, 2]
assert client.get_subjects() == ["rows-value"]
# What another subject still uses is still there.
assert AvroDeserializer(SchemaRegistryClient({"url": sys.argv[1]}))(written, context) == VALUE
print("ok")
