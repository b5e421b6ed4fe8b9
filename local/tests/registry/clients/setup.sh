#!/bin/sh
# Installs the Python and Node clients that the registry's tests run, with pinned versions, into
# ${LOCKSTEP_TEST_TOOLS:-<repository>/target/test-tools}/{venv,node}. Does nothing when they are
# there; safe to call from several tests at once. Prints the directory.
set -eu

PYTHON_PACKAGES="confluent-kafka[avro,schemaregistry]==2.16.0 avro==1.12.1
python-schema-registry-client==2.6.1"
NODE_PACKAGES="@kafkajs/confluent-schema-registry@4.1.0 @confluentinc/schemaregistry@1.10.1"

repository=$(cd "$(dirname "$0")/../../../.." && pwd)
tools=${LOCKSTEP_TEST_TOOLS:-$repository/target/test-tools}
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)
stamp=$tools/installed
wanted="$PYTHON_PACKAGES $NODE_PACKAGES"

is_installed() {
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]
}

need() {
    command -v "$1" >/dev/null || {
        echo "$1 is missing: apt-get install $2" >&2
        exit 1
    }
}

install() {
    need python3 "python3 python3-venv"
    need npm "nodejs npm"
    rm -rf "$tools/venv" "$tools/node" "$stamp"
    python3 -m venv "$tools/venv" || {
        echo "python3 -m venv failed: apt-get install python3-venv" >&2
        exit 1
    }
    # shellcheck disable=SC2086 # a list of words
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check $PYTHON_PACKAGES >&2
    mkdir -p "$tools/node"
    # Without a package.json of its own npm would climb up to another directory's.
    echo '{ "private": true }' >"$tools/node/package.json"
    # shellcheck disable=SC2086 # a list of words
    npm install --prefix "$tools/node" --no-package-lock --no-audit --no-fund --silent \
        $NODE_PACKAGES >&2
    echo "$wanted" >"$stamp"
}

is_installed || {
    need flock util-linux
    exec 9>"$tools/lock"
    flock 9
    # Another test may have done it while this one waited.
    is_installed || install
}
echo "$tools"
