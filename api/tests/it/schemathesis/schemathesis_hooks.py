"""The formats that the API's description names: what headers look like that mean something."""

import schemathesis
from hypothesis import strategies

half = strategies.integers(0, 2**32 - 1)
schemathesis.openapi.format("lsn", strategies.builds("{:X}/{:X}".format, half, half))

tag = strategies.builds("{}\"v{}\"".format, strategies.sampled_from(["", "W/"]), strategies.integers(1, 9))
tags = strategies.lists(tag, min_size=1, max_size=3).map(", ".join)
any_version = strategies.just("*")
# Mostly one that lets a change go on to where the rest of the request matters.
schemathesis.openapi.format("entity-tags", strategies.one_of(*[any_version] * 7, tags))
