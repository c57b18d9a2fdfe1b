#!/bin/sh
# Puts redis-py under target/python, for the test with a foreign client. Without pip it says so and goes on.
set -u

repo=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
packages=$repo/target/python

# Asked of Python itself: a package that pip has put there may still want another one.
imports() {
    PYTHONPATH=$packages python3 -c 'import redis' >/dev/null 2>&1
}

# With what it needs: before Python 3.11.3, which Debian 12 does not have, that is one more package.
install() {
    PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
        python3 -m pip install --quiet --upgrade --target "$packages" \
        "redis==8.1.0; python_version >= '3.10'" "redis; python_version < '3.10'" >/dev/null 2>&1
}

if imports || { mkdir -p "$packages" && install && imports; }; then
    echo "redis-py ready: $packages"
else
    echo "redis-py skipped: no python3 with pip, the package index is out of reach, or redis-py does not run on this Python"
fi
