#!/bin/sh
# Checks what is published: see `make package`.
set -eu

repo=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$repo"
cargo=${CARGO:-cargo}
packed=$repo/target/package/packed
CARGO_TARGET_DIR=$repo/target/package/target
export CARGO_TARGET_DIR

echo "packing"
dirty=
[ -z "${ALLOW_DIRTY:-}" ] || dirty=--allow-dirty
warnings=$("$cargo" package --no-verify $dirty 2>&1 | grep -A3 '^\(warning\|error\)' || :)
if [ -n "$warnings" ]; then
    echo "$warnings" >&2
    exit 1
fi
crate=$(ls "$CARGO_TARGET_DIR"/package/cachetx-*.crate)
rm -rf "$packed"
mkdir -p "$packed"
tar -xzf "$crate" -C "$packed" --strip-components 1
echo "$(tar -tzf "$crate" | wc -l) files, $(wc -c <"$crate") bytes"

# Every combination of the library's features, with and without the test kit; then the command line
# and all features.
features=$(sed -n '/^\[features\]/,/^\[dependencies\]/s/^\([a-z][a-z0-9-]*\) = .*/\1/p' Cargo.toml | grep -vE '^(default|testing|strategies|cli)$')
sets=$(echo "$features" | awk '
    { name[NR] = $1 }
    END {
        for (n = 0; n < 2 ^ NR; n++) {
            set = ""
            for (bit = 1; bit <= NR; bit++)
                if (int(n / 2 ^ (bit - 1)) % 2) set = set "," name[bit]
            print "none" set
        }
    }')
count=0
check() {
    "$cargo" check --quiet --manifest-path "$packed/Cargo.toml" --no-default-features "$@"
    count=$((count + 1))
}
for set in $sets; do
    wanted=${set#none}
    check --lib --features "${wanted#,}"
    check --lib --features "testing$wanted"
done
for wanted in strategies cli cli,tls; do
    check --lib --bins --features "$wanted"
done
check --all-targets --all-features
echo "$count sets of features build from the packed crate"

echo "README's program, with the packed crate"
program=$repo/target/package/program
mkdir -p "$program/src" "$program/rules"
cp "$packed/rules/shop.json" "$program/rules/"
# Prints the first block of that language in README.
block() {
    awk -v begin="\`\`\`$1" '$0 == begin { take = 1; next } /^```$/ { if (take) exit } take' README.md
}
{
    printf '[package]\nname = "program"\nedition = "2024"\n\n[workspace]\n\n'
    block toml | sed "s|^cachetx = \"[^\"]*\"|cachetx = { path = \"$packed\" }|"
} >"$program/Cargo.toml"
block rust >"$program/src/main.rs"
cp Cargo.lock "$program/Cargo.lock"
(cd "$program" && "$cargo" run --quiet)

if "$cargo" public-api --version >/dev/null 2>&1 && rustc +nightly --version >/dev/null 2>&1; then
    echo "the public API against public-api.txt"
    "$cargo" +nightly public-api --all-features -sss >"$CARGO_TARGET_DIR/public-api.txt" 2>"$CARGO_TARGET_DIR/public-api.log" || {
        cat "$CARGO_TARGET_DIR/public-api.log" >&2
        exit 1
    }
    if [ -n "${ACCEPT:-}" ]; then
        cp "$CARGO_TARGET_DIR/public-api.txt" public-api.txt
    fi
    diff -u public-api.txt "$CARGO_TARGET_DIR/public-api.txt" || {
        echo "the public API has changed: make package ACCEPT=1 writes public-api.txt" >&2
        exit 1
    }
else
    echo "SKIPPED the public API: cargo install cargo-public-api, and a nightly toolchain"
fi

if "$cargo" deny --version >/dev/null 2>&1; then
    echo "licences, sources, advisories"
    # shellcheck disable=SC2086 # words: --offline, say, where the database is there already
    "$cargo" deny ${DENY:-} --log-level error --all-features check
else
    echo "SKIPPED licences and advisories: cargo install cargo-deny"
fi
echo "package ok"
