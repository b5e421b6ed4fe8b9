#!/bin/sh
# Installs Schemathesis into ${LOCKSTEP_TEST_TOOLS:-<repository>/target/test-tools}/schemathesis, in
# the versions of requirements.txt. Does nothing when it is there, so that it works offline then; safe
# to call from several tests at once. Prints the program's path.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
wanted=$here/requirements.txt
tools=${LOCKSTEP_TEST_TOOLS:-$here/../../../target/test-tools}
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)
venv=$tools/schemathesis

is_installed() {
    cmp -s "$wanted" "$venv/installed"
}

need() {
    command -v "$1" >/dev/null || {
        echo "$1 is missing: apt-get install $2" >&2
        exit 1
    }
}

install() {
    need python3 "python3 python3-venv"
    rm -rf "$venv"
    python3 -m venv "$venv" >&2 || {
        echo "python3 -m venv failed: apt-get install python3-venv" >&2
        exit 1
    }
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted" >&2
    cp "$wanted" "$venv/installed"
}

is_installed || {
    need flock util-linux
    exec 9>"$tools/schemathesis.lock"
    flock 9
    # Another test may have done it while this one waited.
    is_installed || install
}
echo "$venv/bin/schemathesis"
