"""The package python-schema-registry-client against the registry at argv[1]. Prints "ok" at the
end."""

import sys

from schema_registry.client import SchemaRegistryClient
from schema_registry.client.errors import ClientError
from schema_registry.client.schema import AvroSchema
from schema_registry.serializers import AvroMessageSerializer


def row(id_type):
    return AvroSchema(
        {
            "type": "record",
            "name": "Row",
            "namespace": "shop",
            "fields": [
                {"name": "id", "type": id_type},
                {"name": "title", "type": ["null", "string"], "default": None},
            ],
        }
    )


def refusal(action):
    try:
        action()
    except ClientError as error:
        return error.http_code
    raise AssertionError("the registry took it")


client = SchemaRegistryClient(sys.argv[1])
subject, value = "shop.rows-value", {"id": 7, "title": "ä"}

serializer = AvroMessageSerializer(client)
written = serializer.encode_record_with_schema(subject, row("int"), value)
first = int.from_bytes(written[1:5], "big")
assert written[0] == 0 and client.register(subject, row("int")) == first
assert AvroMessageSerializer(SchemaRegistryClient(sys.argv[1])).decode_message(written) == value

assert client.check_version(subject, row("int")).version == 1
assert client.check_version(subject, row("long")) is None
assert client.check_version("none", row("int")) is None
assert client.test_compatibility(subject, row("long"))
assert not client.test_compatibility(subject, row("string"))
verbose = client.test_compatibility(subject, row("string"), verbose=True)
assert verbose["is_compatible"] is False and "TYPE_MISMATCH" in verbose["messages"][0], verbose
assert refusal(lambda: client.register(subject, row("string"))) == 409
second = client.register(subject, row("long"))
assert second != first
assert client.get_schema(subject).schema_id == second
assert client.get_schema(subject, 1).schema_id == first
assert client.get_schema(subject, 9) is None
assert client.get_by_id(999) is None
assert client.get_versions(subject) == [1, 2]
places = [(place.subject, place.version) for place in client.get_schema_subject_versions(second)]
assert places == [(subject, 2)], places
assert client.get_subjects() == [subject]

assert client.get_compatibility() == "BACKWARD"
assert client.update_compatibility("FULL", subject)
assert client.get_compatibility(subject) == "FULL"

assert client.delete_version(subject, 1) == 1
assert client.delete_subject(subject) == [2]
assert client.get_subjects() == []
print("ok")
