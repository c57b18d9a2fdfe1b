#!/bin/sh
# Puts promtool, which checks Prometheus alert rules, under target/promtool, from Debian's package. One that is installed is used as it is.
# Where neither can be had it says so and goes on: the test of the alerts is skipped by name then.
set -u

repo=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
tool=$repo/target/promtool/usr/bin/promtool

if command -v promtool >/dev/null 2>&1; then
    echo "promtool ready: $(command -v promtool)"
    exit 0
fi
if ! "$tool" --version >/dev/null 2>&1; then
    work=$(mktemp -d) || exit 1
    trap 'rm -rf "$work"' EXIT
    (
        cd "$work" || exit 1
        # Package lists may be missing, or out of date.
        apt-get -qq download prometheus || { apt-get -qq update && apt-get -qq download prometheus; }
    ) >/dev/null 2>&1
    mkdir -p "$repo/target/promtool"
    for deb in "$work"/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" 2>/dev/null | tar -x -C "$repo/target/promtool" ./usr/bin/promtool 2>/dev/null
    done
fi
if "$tool" --version >/dev/null 2>&1; then
    echo "promtool ready: $tool"
else
    echo "promtool skipped: not installed, and Debian's package cannot be had or does not run here"
fi
