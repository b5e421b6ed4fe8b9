#!/bin/sh
# Installs what the clients of one language need, with pinned versions, into
# ${LOCKSTEP_TEST_TOOLS:-<repository>/target/test-tools}/kafka-clients/KIND. Does nothing when it is
# there; safe to call from several tests at once. Prints the directory.
# Usage: setup.sh python|node|confluent-node|java
set -eu

PYTHON_PACKAGES="confluent-kafka==2.16.0 kafka-python==3.0.12 lz4==4.4.5 python-snappy==0.7.3 zstandard==0.25.0"
NODE_PACKAGES="kafkajs@2.2.4 kafkajs-snappy@1.1.0 lz4-napi@2.10.0 @mongodb-js/zstd@1.2.2"
CONFLUENT_NODE_PACKAGES="@confluentinc/kafka-javascript@1.10.1"

kind=$1
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../../../.." && pwd)
tools=${LOCKSTEP_TEST_TOOLS:-$repository/target/test-tools}/kafka-clients
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)
folder=$tools/$kind
stamp=$folder/installed

wanted() {
    case $kind in
    python) echo "$PYTHON_PACKAGES" ;;
    node) echo "$NODE_PACKAGES" ;;
    confluent-node) echo "$CONFLUENT_NODE_PACKAGES" ;;
    java) cat "$here/pom.xml" ;;
    *)
        echo "usage: $0 python|node|confluent-node|java" >&2
        exit 2
        ;;
    esac
}

is_installed() {
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]
}

need() {
    command -v "$1" >/dev/null || {
        echo "$1 is missing: apt-get install $2" >&2
        exit 1
    }
}

install_python() {
    need python3 "python3 python3-venv"
    python3 -m venv "$folder" || {
        echo "python3 -m venv failed: apt-get install python3-venv" >&2
        exit 1
    }
    # shellcheck disable=SC2086 # a list of words
    "$folder/bin/pip" install --quiet --disable-pip-version-check $PYTHON_PACKAGES >&2
}

install_node() {
    need npm "nodejs npm"
    # Headers that are there need not be fetched.
    [ -f /usr/include/node/node.h ] && export npm_config_nodedir=/usr
    # Without a package.json of its own npm would climb up to another directory's.
    echo '{ "private": true }' >"$folder/package.json"
    # shellcheck disable=SC2086 # a list of words
    npm install --prefix "$folder" --no-package-lock --no-audit --no-fund --silent $1 >&2
}

# Where the prebuilt library cannot be fetched from its maker it is built from its source, with
# the libraries of this machine; two jobs of its make at a time would not wait for each other.
install_confluent_node() {
    export CKJS_LINKING=dynamic JOBS=1
    install_node "$CONFLUENT_NODE_PACKAGES"
}

install_java() {
    need mvn maven
    mvn -B -q dependency:copy-dependencies -f "$here/pom.xml" "-DoutputDirectory=$folder" >&2
}

install() {
    rm -rf "$folder"
    mkdir "$folder"
    case $kind in
    python) install_python ;;
    node) install_node "$NODE_PACKAGES" ;;
    confluent-node) install_confluent_node ;;
    java) install_java ;;
    esac
    echo "$wanted" >"$stamp"
}

wanted=$(wanted)
is_installed || {
    need flock util-linux
    exec 9>"$tools/$kind.lock"
    flock 9
    # Another test may have done it while this one waited.
    is_installed || install
}
echo "$folder"
