#!/bin/sh
# Installs axe-core, in a pinned version, into
# ${LOCKSTEP_TEST_TOOLS:-<repository>/target/test-tools}/axe. Does nothing when it is there; safe to
# call from several tests at once. Prints the script's path.
set -eu

PACKAGE="axe-core@4.14.1"

here=$(cd "$(dirname "$0")" && pwd)
tools=${LOCKSTEP_TEST_TOOLS:-$here/../../../target/test-tools}
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)/axe
stamp=$tools/installed

is_installed() {
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$PACKAGE" ]
}

need() {
    command -v "$1" >/dev/null || {
        echo "$1 is missing: apt-get install $2" >&2
        exit 1
    }
}

install() {
    need npm npm
    rm -rf "$tools/node_modules" "$stamp"
    # Without a package.json of its own npm would climb up to another directory's.
    echo '{ "private": true }' >"$tools/package.json"
    npm install --prefix "$tools" --no-package-lock --no-audit --no-fund --silent "$PACKAGE" >&2
    echo "$PACKAGE" >"$stamp"
}

is_installed || {
    need flock util-linux
    mkdir -p "$tools"
    exec 9>"$tools/lock"
    flock 9
    # Another test may have done it while this one waited.
    is_installed || install
}
echo "$tools/node_modules/axe-core/axe.min.js"
