#!/bin/sh
# Reads the dashboards in a folder by Grafana's own types (its SDK, in the version of Grafana's that
# the containers run or older) and writes them again: what the types do not know gets lost, which is
# told. The SDK goes into ${LOCKSTEP_TEST_TOOLS:-<repository>/target/test-tools}/grafana.
# Usage: grafana.sh FOLDER
set -eu

SDK="grafana-foundation-sdk==1769699998!10.1.0"

here=$(cd "$(dirname "$0")" && pwd)
tools=${LOCKSTEP_TEST_TOOLS:-$here/../../../../target/test-tools}
mkdir -p "$tools"
venv=$(cd "$tools" && pwd)/grafana

is_installed() {
    [ "$(cat "$venv/installed" 2>/dev/null)" = "$SDK" ]
}

install() {
    rm -rf "$venv"
    python3 -m venv "$venv" >&2 || {
        echo "python3 -m venv failed: tools/install-needs test" >&2
        exit 1
    }
    "$venv/bin/pip" install --quiet --disable-pip-version-check "$SDK" >&2
    echo "$SDK" >"$venv/installed"
}

is_installed || {
    exec 9>"$tools/grafana.lock"
    flock 9
    # Another test may have done it while this one waited.
    is_installed || install
}
exec "$venv/bin/python" -B "$here/grafana.py" "$1"
