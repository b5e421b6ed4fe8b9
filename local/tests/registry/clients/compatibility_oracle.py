"""Answers, for each line {"reader": text, "writer": text}, whether the reader can read what the
writer writes: a line "true", "false" or "error: ..." each. The judge is the avro package."""

import json
import sys

import avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType


def answer(line):
    pair = json.loads(line)
    try:
        reader = avro.schema.parse(pair["reader"])
        writer = avro.schema.parse(pair["writer"])
        result = ReaderWriterCompatibilityChecker().get_compatibility(reader, writer)
    except Exception as error:  # whatever it is, the test must see it
        return f"error: {type(error).__name__}: {error}".replace("\n", " ")
    compatible = result.compatibility is SchemaCompatibilityType.compatible
    return "true" if compatible else "false"


for line in sys.stdin:
    print(answer(line))
