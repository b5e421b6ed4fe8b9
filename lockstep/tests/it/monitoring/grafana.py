"""Tells what of each dashboard in a folder Grafana's types do not know; see grafana.sh."""

import json
import pathlib
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard


def lost(ours, theirs, place):
    if isinstance(ours, dict):
        if not isinstance(theirs, dict):
            yield place
            return
        for key, value in ours.items():
            if key in theirs:
                yield from lost(value, theirs[key], f"{place}.{key}")
            else:
                yield f"{place}.{key}"
    elif isinstance(ours, list):
        if not isinstance(theirs, list) or len(ours) != len(theirs):
            yield place
            return
        for at, (our, their) in enumerate(zip(ours, theirs)):
            yield from lost(our, their, f"{place}[{at}]")
    elif ours != theirs:
        yield place


files = sorted(pathlib.Path(sys.argv[1]).glob("*.json"))
places = []
for file in files:
    ours = json.loads(file.read_text())
    theirs = json.loads(JSONEncoder().encode(Dashboard.from_json(ours)))
    places += lost(ours, theirs, file.name)
if places:
    sys.exit("unknown to Grafana:\n" + "\n".join(places))
print(f"{len(files)} dashboards")
