"""What the script of every Python client needs; mod.rs says what each step is."""

import json
import sys

BOOTSTRAP, TOPIC, GROUP = sys.argv[1:4]
BASE_MS = int(sys.argv[4])
CODECS = sys.argv[5].split(",")
EXTRAS = [extra for extra in sys.argv[6].split(",") if extra]
# The time of which the offsets are asked.
TIME_MS = BASE_MS + 15_500
PARTITIONS = 3
RETENTION_MS = "3600000"
# A client that works needs a fraction of it.
LIMIT_S = 60

ROUNDS = ["none", "gzip", "snappy", "lz4", "zstd", "late"]
RECORDS_IN_ROUND = 6


def records(name):
    """Key, value, headers and timestamp of each record of a round."""
    first = ROUNDS.index(name) * RECORDS_IN_ROUND
    for number in range(RECORDS_IN_ROUND):
        yield (
            f"{name}-{number}",
            f"ä value {number} of {name} " * 20,
            [("round", name), ("number", str(number))],
            BASE_MS + (first + number) * 1000,
        )


def say(step, seen):
    print(step, json.dumps(seen), sep="\t", flush=True)


def wait_to_be_told():
    """What is in the topic is looked at before it is deleted."""
    sys.stdin.readline()
