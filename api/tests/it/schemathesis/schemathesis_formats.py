"""The formats that the API's description names: what headers look like that mean something."""

import schemathesis
from hypothesis import strategies

half = strategies.integers(0, 2**32 - 1)
schemathesis.openapi.format("lsn", strategies.builds("{:X}/{:X}".format, half, half))

tag = strategies.builds("{}\"{}\"".format, strategies.sampled_from(["", "W/"]), strategies.from_regex("v[1-9]", fullmatch=True))
tags = strategies.lists(tag, min_size=1, max_size=3).map(", ".join)
any_version = strategies.just("*")
# Mostly one that lets the change go on to where the rest of the request matters.
schemathesis.openapi.format("entity-tags", strategies.one_of(any_version, any_version, any_version, tags))
