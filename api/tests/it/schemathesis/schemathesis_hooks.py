"""The formats that the API's description names: what headers look like that mean something."""

import uuid

import schemathesis
from hypothesis import strategies

half = strategies.integers(0, 2**32 - 1)
schemathesis.openapi.format("lsn", strategies.builds("{:X}/{:X}".format, half, half))

tag = strategies.builds("{}\"v{}\"".format, strategies.sampled_from(["", "W/"]), strategies.integers(1, 9))
tags = strategies.lists(tag, min_size=1, max_size=3).map(", ".join)
any_version = strategies.just("*")
# Mostly one that lets a change go on to where the rest of the request matters.
schemathesis.openapi.format("entity-tags", strategies.one_of(*[any_version] * 7, tags))

# Never one that came before: with another body that is refused, and rightly.
schemathesis.openapi.format("idempotency-key", strategies.builds(lambda: str(uuid.uuid4())))


@schemathesis.hook
def before_call(context, case, kwargs):
    """The coverage phase keeps a value while it varies others: it would send one key with many bodies."""
    varied = getattr(getattr(getattr(case.meta, "phase", None), "data", None), "parameter", None)
    # A case without the token is none any more for Schemathesis once it was touched.
    if varied != "Authorization" and len((case.headers or {}).get("Idempotency-Key", "")) == 36:
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
