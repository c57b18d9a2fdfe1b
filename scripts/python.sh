#!/bin/sh
# Puts redis-py under target/python, for the test with a foreign client. Without pip it says so and goes on.
set -u

repo=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
packages=$repo/target/python
if PYTHONPATH=$packages python3 -c 'import redis' >/dev/null 2>&1; then
    echo "redis-py ready: $packages"
elif mkdir -p "$packages" && python3 -m pip install --quiet --no-deps --target "$packages" redis==8.1.0 >/dev/null 2>&1; then
    echo "redis-py ready: $packages"
else
    echo "redis-py skipped: no python3 with pip, or the package index is out of reach"
fi
