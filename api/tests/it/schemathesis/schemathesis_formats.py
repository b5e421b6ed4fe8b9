"""The formats that the API's description names: what headers look like that mean something."""

from uuid import uuid4

import schemathesis
from hypothesis import strategies

half = strategies.integers(0, 2**32 - 1)
schemathesis.openapi.format("lsn", strategies.builds("{:X}/{:X}".format, half, half))

tag = strategies.builds("{}\"{}\"".format, strategies.sampled_from(["", "W/"]), strategies.from_regex("v[1-9]", fullmatch=True))
tags = strategies.lists(tag, min_size=1, max_size=3).map(", ".join)
any_version = strategies.just("*")
# Mostly one that lets the change go on to where the rest of the request matters.
schemathesis.openapi.format("entity-tags", strategies.one_of(any_version, any_version, any_version, tags))

# Each its own: one that comes again with another body is refused.
schemathesis.openapi.format("idempotency-key", strategies.builds(lambda: str(uuid4())))
